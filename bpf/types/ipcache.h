/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which identity an address has and which node it lives on. The most specific prefix wins. */
#ifndef GLASSHIVE_TYPES_IPCACHE_H
#define GLASSHIVE_TYPES_IPCACHE_H

#include "address.h"

enum gh_ipcache_flags {
	GH_IPCACHE_IN_CLUSTER = 1, /* reached without masquerade: a pod, a pod prefix or a node */
	GH_IPCACHE_TUNNEL = 2, /* encapsulate to node_addr */
	GH_IPCACHE_ONLINK =
		4, /* native routing: node_addr is a neighbour on the node's device, no route look-up needed */
};

/*
 * Key of the LPM trie "ipcache". An IPv4 prefix /n is written as 96 + n. Packed: the kernel matches the bytes that
 * follow the length, so there must be no gap before the address.
 */
struct gh_ipcache_key {
	__u32 prefixlen;
	union gh_address addr;
} __attribute__((packed, aligned(4)));

struct gh_ipcache_entry {
	__u32 identity;
	__u32 flags; /* enum gh_ipcache_flags */
	union gh_address node_addr; /* underlay address of the node, all zero when local or unknown */
};

#endif
