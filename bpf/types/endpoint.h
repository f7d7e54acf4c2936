/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* A local endpoint: a pod of this node, or an address of the node itself. */
#ifndef GLASSHIVE_TYPES_ENDPOINT_H
#define GLASSHIVE_TYPES_ENDPOINT_H

#include "address.h"

enum gh_endpoint_flags {
	GH_ENDPOINT_HOST = 1, /* an address of the node itself: the kernel's stack receives it */
	GH_ENDPOINT_ROUTER = 2, /* the node's router address, the pods' gateway; always with HOST */
	GH_ENDPOINT_INGRESS_ENFORCED = 4, /* what it receives is judged by its policy */
	GH_ENDPOINT_EGRESS_ENFORCED = 8, /* what it sends is judged by its policy */
	GH_ENDPOINT_AUDIT = 16, /* what its policy refuses passes, and is told */
};

/* Value of the map "endpoints"; the key is the endpoint's address. Pods have one entry per address family. */
struct gh_endpoint {
	__u32 ifindex; /* host side of the pod's veth pair, in the node's network namespace */
	__u32 identity; /* security identity */
	__u16 id; /* endpoint id, unique on the node, 1..65535; it and the next two are read as one word */
	__u16 flags; /* enum gh_endpoint_flags */
	__u32 policy; /* number of its policy, 0: none */
	__u8 mac[6]; /* the pod's side */
	__u8 host_mac[6]; /* the host side, the pod's next hop */
	__u32 pad;
};

#endif
