/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Policy as the programs read it. A policy is a number for one resolved set of rules; endpoints with equal rules share
 * it. Two hashes answer "may this peer?": policy_peers says what a peer's packets meet where no port decides, and which
 * lengths of port prefixes are worth a look; policy_ports has those. User space has resolved precedence before: for any
 * packet at most one row of each applies.
 */
#ifndef GLASSHIVE_TYPES_POLICY_H
#define GLASSHIVE_TYPES_POLICY_H

#define GH_POLICY_EGRESS 1 /* lowest bit of a key's "policy": the number's egress half, else the ingress half */
#define GH_POLICY_PORT_BITS 16

enum gh_policy_verdict {
	GH_POLICY_ALLOW = 1,
	GH_POLICY_DENY_DEFAULT = 2, /* nothing allows it */
	GH_POLICY_DENY_RULE = 3, /* a rule forbids it */
};

/* What decided, with the numbers the field uses. */
enum gh_policy_match {
	GH_POLICY_MATCH_NONE = 0, /* nothing: default deny */
	GH_POLICY_MATCH_L3_ONLY = 1, /* the peer's row */
	GH_POLICY_MATCH_L3_L4 = 2, /* the peer's row for a port */
	GH_POLICY_MATCH_L4_ONLY = 3, /* any peer's row for a port */
	GH_POLICY_MATCH_ALL = 4, /* any peer's row */
	GH_POLICY_MATCH_L3_PROTO = 5, /* the peer's row for a whole protocol */
	GH_POLICY_MATCH_PROTO_ONLY = 6, /* any peer's row for a whole protocol */
};

/* Key of the hash "policy_peers". */
struct gh_policy_peer_key {
	__u32 policy; /* number << 1 | GH_POLICY_EGRESS or 0 */
	__u32 identity; /* the peer's; 0: every peer without a row of its own */
};

struct gh_policy_peer {
	__u64 packets; /* that this row decided, forward direction */
	__u64 bytes; /* from the Ethernet header on */
	__u32 classes; /* bit n: there are port rows whose prefix has n bits, 0 (a whole protocol) to 16 (one port) */
	__u32 rule; /* cookie of the rule that decided; user space knows it */
	__u8 verdict; /* enum gh_policy_verdict, where no port row matches */
	__u8 pad[7];
};

/* Key of the hash "policy_ports". */
struct gh_policy_port_key {
	__u32 policy; /* as above */
	__u32 identity;
	__be16 port; /* destination port, or ICMP type; only its first prefix_bits bits are set */
	__u8 protocol; /* IP protocol number */
	__u8 prefix_bits; /* 16: one port */
};

struct gh_policy_port {
	__u64 packets;
	__u64 bytes;
	__u32 rule;
	__be16 proxy_port; /* 0: none */
	__u8 verdict;
	__u8 pad;
};

/* Only element of the array "node_state": what all programs of a node share and user space changes at run time. */
struct gh_node_state {
	__u32 policy_revision; /* moves with every change of policy; never GH_POLICY_REVISION_CUT */
	__u32 pad;
};

enum gh_policy_revision {
	GH_POLICY_REVISION_CUT = 0xffffffff, /* in a connection's entry: was refused when it was last judged */
};

#endif
