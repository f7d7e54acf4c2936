/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What programs tell user space about one packet: a record of fixed size in the ring buffer "events". */
#ifndef GLASSHIVE_TYPES_RECORD_H
#define GLASSHIVE_TYPES_RECORD_H

#include "address.h"

enum gh_record_type {
	GH_RECORD_DROP = 1,
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
	__u8 pad[7];
};

_Static_assert(sizeof(struct gh_record) == 80, "a record's size is what readers step by");

#endif
