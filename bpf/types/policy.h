/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Policy as the programs read it. A policy is a number for one resolved set of rules; endpoints with equal rules share
 * it. Two exact look-ups answer "may this peer?": policy_peers says what a peer's packets meet where no port decides,
 * and which lengths of port prefixes are worth a look; policy_ports has those. User space has resolved precedence
 * before: for any packet at most one row of each applies.
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

/*
 * Both tables are hash tables made of arrays that user space writes in place: the kernel's own hash costs a call and
 * four cache lines per look-up, a bucket two lines. A key is in one of two buckets (gh_policy_hash()). Writers clear a
 * slot's key, write its value, write its key, each with one 8-byte store; readers look at the key before and after.
 */
#define GH_POLICY_SLOTS 8

struct gh_policy_slot {
	__u64 key; /* 0: free */
	__u64 value;
};

struct gh_policy_bucket {
	struct gh_policy_slot slots[GH_POLICY_SLOTS];
};

/*
 * Key in "policy_peers": policy (number << 1 | GH_POLICY_EGRESS or 0) << 32 | the peer's identity; identity 0: every peer
 * without a row of its own.
 * Key in "policy_ports": row of the peer << 32 | port << 16 | protocol << 8 | prefix bits. The port is in host order (for
 * ICMP the type), only its first prefix bits are set; 16 bits: one port, 0: a whole protocol.
 */
enum gh_policy_key {
	GH_POLICY_KEY_HIGH = 32,
	GH_POLICY_KEY_PORT = 16,
	GH_POLICY_KEY_PROTOCOL = 8,
};

/* Value in both: row << 32 | classes << 8 | verdict. */
enum gh_policy_value {
	GH_POLICY_VALUE_ROW = 32, /* number of its row in "policy_rows", from 1 on */
	GH_POLICY_VALUE_CLASSES = 8, /* peers only; bit n: there are port rows whose prefix has n bits, 0 to 16 */
	GH_POLICY_VALUE_VERDICT_MASK = 0xff, /* enum gh_policy_verdict; of a peer: where no port row matches */
};

/* Element of the array "policy_rows". */
struct gh_policy_row {
	__u64 packets; /* that this row decided, forward direction */
	__u64 bytes; /* from the Ethernet header on */
	__u32 rule; /* cookie of the rule that decided; user space knows it */
	__u32 pad[3];
};

/* Only element of the array "node_state": what all programs of a node share and user space changes at run time. */
struct gh_node_state {
	__u32 policy_revision; /* moves with every change of policy; never GH_POLICY_REVISION_CUT */
	__u32 peer_mask; /* number of buckets in use, a power of two, less 1 */
	__u32 port_mask;
	__u32 pad;
};

enum gh_policy_revision {
	GH_POLICY_REVISION_CUT = 0xffffffff, /* in a connection's entry: was refused when it was last judged */
};

#endif
