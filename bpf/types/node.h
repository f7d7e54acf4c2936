/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What every program of a node knows about it: constants set between open and load (read-only data). */
#ifndef GLASSHIVE_TYPES_NODE_H
#define GLASSHIVE_TYPES_NODE_H

#include "address.h"

enum gh_node_flags {
	GH_NODE_TUNNEL = 1, /* pods of other nodes are reached through VXLAN, else by native routing */
	GH_NODE_MASQUERADE = 2, /* traffic from pods to addresses outside the cluster leaves with the node's address */
	GH_NODE_IPV4 = 4,
	GH_NODE_IPV6 = 8,
	GH_NODE_ALLOW_LOCALHOST = 16, /* the node's own processes reach its pods whatever these pods' policy */
	GH_NODE_VERDICT_RECORDS = 32, /* tell what policy said about every new connection */
};

struct gh_node_config {
	__u32 flags; /* enum gh_node_flags */
	__u32 device_ifindex; /* the node's device towards the fabric */
	__u32 overlay_ifindex; /* the VXLAN device, 0 without one */
	__u32 host_ifindex; /* "gh_host": the node's own door to its pods */
	__u16 nat_port_min; /* masquerade source ports, host byte order, inclusive */
	__u16 nat_port_max;
	__u8 device_mac[6];
	__u16 device_mtu_bytes; /* largest IP packet on the device; 0: packets are not measured */
	__u16 overlay_port; /* the tunnel's UDP port, host byte order; 0 without one */
	__u16 pad;
	__u32 hash_seed; /* of the hash that picks a slot of a Maglev table; the same on all nodes */
	__u32 maglev_slots; /* of each Maglev table, a prime number */
	union gh_address node_ipv4; /* v4-mapped, all zero without the family */
	union gh_address node_ipv6;
	union gh_address router_ipv4;
	union gh_address router_ipv6;
};

#endif
