/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* A parsed packet: what the decisions need to know of it, the same for both families. */
#ifndef GLASSHIVE_LIB_PACKET_H
#define GLASSHIVE_LIB_PACKET_H

#include "lib/bpf.h"
#include "types/address.h"

enum gh_packet_flags {
	GH_PACKET_IPV6 = 1,
	GH_PACKET_FRAGMENT = 2, /* part of a fragmented datagram */
	GH_PACKET_LATER = 4, /* not its first part: no L4 header here */
	GH_PACKET_ICMP_ERROR = 8, /* carries the head of the packet it complains about */
	GH_PACKET_ECHO = 16, /* ICMP echo, its identifier stands for a port */
	GH_PACKET_DF = 32, /* must not be fragmented on the way; always so for IPv6 */
	GH_PACKET_CALL = 64, /* to a service: here its destination has become a backend's address */
	GH_PACKET_ANSWER =
		128, /* of a service's connection and not translated here: its source is still the backend's */
};

/* What policy said of the packet last. policy 0: it was not asked. The fields mean what they do in struct gh_record. */
struct gh_judgement {
	__u32 policy;
	__u32 peer;
	__u32 rule;
	__u16 endpoint;
	__u8 verdict;
	__u8 match : 4; /* Verifier: every 8 bytes count, a packet is on the stack of several callers at once */
	__u8 flags : 4;
};

struct gh_packet {
	union gh_address src;
	union gh_address dst;
	__be16 sport;
	__be16 dport;
	__be32 fragment_id;
	__u16 l4; /* offset of the L4 header from the start of the frame */
	__u8 protocol; /* behind all extension headers */
	__u8 flags; /* enum gh_packet_flags */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 ttl;
	struct gh_judgement judged;
};

/*
 * Farthest place of an L4 header. Verifier: a packet offset needs a bound that it can see, so offsets are masked with
 * GH_L4_MASK, which must be all ones.
 */
#define GH_L4_MASK 0x1ff
_Static_assert(((GH_L4_MASK + 1) & GH_L4_MASK) == 0, "a mask, not only a bound");

static __always_inline bool gh_is_ipv6(const struct gh_packet *pkt)
{
	return pkt->flags & GH_PACKET_IPV6;
}

static __always_inline bool gh_has_l4(const struct gh_packet *pkt)
{
	return !(pkt->flags & GH_PACKET_LATER);
}

#endif
