/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What programs tell user space about one packet: a record of fixed size in the ring buffer "events". */
#ifndef GLASSHIVE_TYPES_RECORD_H
#define GLASSHIVE_TYPES_RECORD_H

#include "address.h"

enum gh_record_type {
	GH_RECORD_DROP = 1,
	GH_RECORD_VERDICT = 2, /* what policy said of a connection when it began, was cut, or came back */
};

enum gh_record_flags {
	GH_RECORD_AUDITED = 1, /* refused, but passed: the endpoint is in audit mode */
	GH_RECORD_REPLY = 2, /* the packet is an answer; judged was the connection that it belongs to */
};

/* One size for every type keeps the ring a plain array with a fixed stride. */
struct gh_record {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	union gh_address src; /* as seen at the program, before any translation by it */
	union gh_address dst;
	__be16 sport; /* TCP, UDP, SCTP; the identifier of an ICMP echo stands on its sender's side */
	__be16 dport;
	__u32 src_identity; /* what ipcache says at that moment; 0 when it knows nothing */
	__u32 dst_identity;
	__u32 ifindex; /* of the device in the node's namespace */
	__u32 bytes; /* from the Ethernet header on */
	__u16 ether_type; /* host byte order */
	__u8 type; /* enum gh_record_type */
	__u8 reason; /* enum gh_drop_reason */
	__u8 direction; /* enum gh_direction */
	__u8 protocol; /* IP protocol number */
	__u8 tcp_flags; /* as in the TCP header: FIN is 1 */
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 verdict; /* enum gh_policy_verdict; 0, and all that follows too, where policy was not asked */
	__u8 match; /* enum gh_policy_match */
	__u8 flags; /* enum gh_record_flags */
	__u32 policy; /* number << 1 | GH_POLICY_EGRESS or 0 */
	__u32 peer; /* identity it was judged by */
	__u32 rule; /* cookie of the rule that decided */
	__u16 endpoint; /* id of the endpoint whose policy it is */
	__u8 pad[2];
};

_Static_assert(sizeof(struct gh_record) == 88, "a record's size is what readers step by");

#endif
