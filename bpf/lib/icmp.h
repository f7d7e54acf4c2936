/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* ICMP of both families. Not <linux/icmp.h>: that header draws in the C library, which the bpf target has no stubs for. */
#ifndef GLASSHIVE_LIB_ICMP_H
#define GLASSHIVE_LIB_ICMP_H

#include "lib/packet.h"

enum gh_icmp_type { /* RFC 792 */
		    GH_ICMP_ECHO_REPLY = 0,
		    GH_ICMP_UNREACHABLE = 3,
		    GH_ICMP_ECHO = 8,
		    GH_ICMP_TIME_EXCEEDED = 11,
		    GH_ICMP_PARAMETER_PROBLEM = 12,
		    GH_ICMP_TIMESTAMP = 13,
		    GH_ICMP_TIMESTAMP_REPLY = 14,
};

enum gh_icmpv6_type { /* RFC 4443, RFC 4861 */
		      GH_ICMPV6_UNREACHABLE = 1,
		      GH_ICMPV6_TOO_BIG = 2,
		      GH_ICMPV6_TIME_EXCEEDED = 3,
		      GH_ICMPV6_PARAMETER_PROBLEM = 4,
		      GH_ICMPV6_ECHO = 128,
		      GH_ICMPV6_ECHO_REPLY = 129,
		      GH_ICMPV6_ROUTER_SOLICITATION = 133, /* the first of five that make up neighbour discovery */
		      GH_ICMPV6_NEIGHBOUR_SOLICITATION = 135,
		      GH_ICMPV6_NEIGHBOUR_ADVERT = 136,
		      GH_ICMPV6_REDIRECT = 137,
};

#define GH_ICMP_FRAGMENTATION_NEEDED 4 /* code of GH_ICMP_UNREACHABLE */
#define GH_ICMP_PORT_UNREACHABLE 3
#define GH_ICMPV6_PORT_UNREACHABLE 4

struct gh_icmp {
	__u8 type;
	__u8 code;
	__be16 check;
	union {
		struct {
			__be16 id; /* echo */
			__be16 mtu; /* fragmentation needed: next hop's MTU */
		};
		__be32 mtu_ipv6; /* packet too big */
	};
};

static __always_inline bool gh_icmp_is_echo(bool ipv6, __u8 type)
{
	return type == (ipv6 ? GH_ICMPV6_ECHO : GH_ICMP_ECHO);
}

static __always_inline bool gh_icmp_is_echo_reply(bool ipv6, __u8 type)
{
	return type == (ipv6 ? GH_ICMPV6_ECHO_REPLY : GH_ICMP_ECHO_REPLY);
}

/* The type of the question that this type answers, -1: it is no answer. */
static __always_inline int gh_icmp_question(bool ipv6, __u8 type)
{
	if (ipv6)
		return type == GH_ICMPV6_ECHO_REPLY ? GH_ICMPV6_ECHO : -1;
	switch (type) {
	case GH_ICMP_ECHO_REPLY:
		return GH_ICMP_ECHO;
	case GH_ICMP_TIMESTAMP_REPLY:
		return GH_ICMP_TIMESTAMP;
	default:
		return -1;
	}
}

static __always_inline bool gh_icmp_is_error(bool ipv6, __u8 type)
{
	if (ipv6)
		return type >= GH_ICMPV6_UNREACHABLE && type <= GH_ICMPV6_PARAMETER_PROBLEM;
	return type == GH_ICMP_UNREACHABLE || type == GH_ICMP_TIME_EXCEEDED || type == GH_ICMP_PARAMETER_PROBLEM;
}

#endif
