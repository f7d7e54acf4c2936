/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Translations: a pod's connection under a port of the node, and a service's connection to one of its backends. */
#ifndef GLASSHIVE_TYPES_NAT_H
#define GLASSHIVE_TYPES_NAT_H

#include "address.h"

enum gh_nat_direction {
	GH_NAT_OUT = 0, /* key: the packet as the pod sends it; value: what its source becomes */
	GH_NAT_IN = 1, /* key: the packet as the answer arrives; value: what its destination becomes */
	GH_NAT_CALL =
		2, /* key: the packet as a client sends it to a service; value: the backend, its destination from then on */
	GH_NAT_REPLY =
		3, /* key: the packet as the backend answers; value: what the client has called, the source from then on */
};

/* Key of the LRU hash "nat": a packet's addresses and ports before translation. */
struct gh_nat_key {
	union gh_address src;
	union gh_address dst;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 direction; /* enum gh_nat_direction */
	__u8 pad[2];
};

enum gh_nat_flags {
	GH_NAT_HOST = 1, /* GH_NAT_IN only: the node's own connection, kept here so that no pod is given its port */
};

struct gh_nat_entry {
	union gh_address addr;
	__be16 port;
	__u16 flags; /* enum gh_nat_flags */
	__u32 backend; /* GH_NAT_CALL only: the backend's number */
	__u64 created_ns; /* CLOCK_MONOTONIC_COARSE */
};

#endif
