/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Why a packet was dropped, and how drops are counted. Append only: the numbers are stored and exported. */
#ifndef GLASSHIVE_TYPES_DROP_H
#define GLASSHIVE_TYPES_DROP_H

/*
 * Up to 205 the numbers are those the field uses for the same meaning, so that exported flows read alike everywhere.
 * From 230 up the reasons are Glasshive's own. One byte on the wire: 255 is the last.
 */
enum gh_drop_reason {
	GH_DROP_NONE = 0,
	GH_DROP_INVALID_SOURCE_IP = 132, /* the pod does not own the address it sends from */
	GH_DROP_POLICY = 133, /* no policy allows it */
	GH_DROP_INVALID_PACKET = 134, /* IP header broken or longer than the packet */
	GH_DROP_INVALID_L4_HEADER = 135, /* TCP, UDP, SCTP or ICMP header broken or cut off */
	GH_DROP_UNSUPPORTED_L3 = 139, /* neither IPv4, IPv6 nor ARP */
	GH_DROP_WRITE_FAILED = 141, /* the packet could not be changed */
	GH_DROP_TUNNEL_KEY = 147, /* arrived on the overlay without tunnel metadata */
	GH_DROP_UNROUTABLE = 151, /* loopback, unspecified or link-local destination */
	GH_DROP_NO_ENDPOINT = 152, /* a pod address of this node that no pod has */
	GH_DROP_CT_CREATE = 155, /* no room for a connection */
	GH_DROP_INVALID_EXTENSION = 156, /* IPv6 extension headers broken, too many, or source routing */
	GH_DROP_NO_BACKEND = 158, /* a service without a backend that may be chosen */
	GH_DROP_NO_TUNNEL = 160, /* the address asks for a tunnel, the node has none */
	GH_DROP_UNSUPPORTED_L2 = 166, /* frame too short */
	GH_DROP_NAT_EXHAUSTED = 167, /* no free masquerade port towards this destination */
	GH_DROP_NAT_UNSUPPORTED = 168, /* a protocol that cannot share an address */
	GH_DROP_CLUSTER_IP = 174, /* from outside, to an address that only the cluster may call */
	GH_DROP_FRAGMENT_UNKNOWN = 175, /* later fragment of a datagram whose first one was not seen */
	GH_DROP_SOURCE_RANGE = 177, /* loadBalancerSourceRanges leave the client out */
	GH_DROP_POLICY_DENY = 181, /* a policy forbids it */
	GH_DROP_VLAN = 182, /* VLAN tag on a pod's frame */
	GH_DROP_TTL_EXCEEDED = 196,
	GH_DROP_MULTICAST = 230, /* multicast or broadcast, which leads nowhere from a pod */
	GH_DROP_NEIGHBOUR = 231, /* ARP or neighbour discovery that is not a question for the gateway */
	GH_DROP_ICMP_UNRELATED = 232, /* ICMP error about a connection that nobody has */
	GH_DROP_NAT_COLLISION = 233, /* the node's own packet would take a masqueraded connection's place */
	GH_DROP_NAT_NO_ADDRESS = 234, /* the node has no address of this family to masquerade with */
	GH_DROP_WRONG_POD = 235, /* packet handed to a pod's device that does not own the destination */
};

/* Seen from the endpoint: what it receives is ingress, what it sends is egress. */
enum gh_direction {
	GH_DIRECTION_UNKNOWN = 0,
	GH_INGRESS = 1,
	GH_EGRESS = 2,
};

/* Key of the per-CPU hash "drops". */
struct gh_drop_key {
	__u8 reason; /* enum gh_drop_reason */
	__u8 direction; /* enum gh_direction */
};

/* Value of "drops", one per CPU. Bytes count from the Ethernet header on. */
struct gh_drop_count {
	__u64 packets;
	__u64 bytes;
};

#endif
