/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Connections: one entry per connection, found by the packets of both directions. */
#ifndef GLASSHIVE_TYPES_CONNTRACK_H
#define GLASSHIVE_TYPES_CONNTRACK_H

#include "address.h"

/*
 * Key of the LRU hash "conntrack". The two ends are sorted: "low" is the one whose (address, port) is smaller when
 * the address words are compared as the programs load them (a total order, not a numeric one). User space need not
 * repeat the comparison to look a connection up: it tries both orders.
 * An ICMP echo's identifier is the port of the side that asks; the side that answers has port 0.
 */
struct gh_ct_key {
	union gh_address low;
	union gh_address high;
	__be16 low_port;
	__be16 high_port;
	__u8 protocol;
	__u8 pad[3];
};

enum gh_ct_state {
	GH_CT_OPENING = 1, /* only one side has spoken */
	GH_CT_ESTABLISHED = 2, /* both sides have spoken */
	GH_CT_CLOSING = 3, /* TCP: both FINs seen, or a RST */
};

enum gh_ct_flags {
	GH_CT_FROM_HIGH = 1, /* the key's high end opened the connection, else the low end */
	GH_CT_REPLIED = 2, /* the other end has answered */
	GH_CT_SYN = 4, /* TCP: opened by a SYN, not picked up in mid-stream */
	GH_CT_FIN_FORWARD = 8, /* TCP: the opener has finished */
	GH_CT_FIN_REPLY = 16, /* TCP: the other end has finished */
	GH_CT_RST = 32, /* TCP: reset by either end */
	GH_CT_SERVICE = 64, /* the opener has called a service: answers leave with the service's address */
};

/* How long a connection lives after its last packet, in seconds. Programs and the garbage collector share these. */
enum gh_ct_timeout {
	GH_CT_TIMEOUT_TCP_OPENING_S = 60,
	GH_CT_TIMEOUT_TCP_ESTABLISHED_S = 8000,
	GH_CT_TIMEOUT_TCP_CLOSING_S = 10,
	GH_CT_TIMEOUT_UDP_S = 60,
	GH_CT_TIMEOUT_UDP_ESTABLISHED_S = 180,
	GH_CT_TIMEOUT_ICMP_S = 30,
	GH_CT_TIMEOUT_OTHER_S = 120,
};

/* Value of "conntrack". Written only when the state changes or a new tick has begun. */
struct gh_ct_entry {
	__u64 seen_ns; /* CLOCK_MONOTONIC_COARSE, at most a tick behind the last packet */
	__u64 created_ns; /* CLOCK_MONOTONIC_COARSE */
	__u32 identity; /* security identity of the side that opened the connection, 0 if not known */
	__u32 tick; /* in which seen_ns was written: jiffies / 256, 0.25 to 2.6 s depending on the kernel's HZ */
	__u16 flags; /* enum gh_ct_flags */
	__u8 state; /* enum gh_ct_state */
	__u8 pad;
	__u32 policy_revision; /* of the last judgement that allowed it, or GH_POLICY_REVISION_CUT: refused since */
};

#endif
