/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* ICMP errors quote the head of the packet they are about (RFC 792, RFC 4443): read that quotation. */
#ifndef GLASSHIVE_LIB_ICMP_ERROR_H
#define GLASSHIVE_LIB_ICMP_ERROR_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include "lib/address.h"
#include "lib/icmp.h"
#include "lib/packet.h"

/* The quoted packet: its tuple, and where its headers begin in the frame. quote.pkt.l4 is its L4 header's place. */
struct gh_icmp_quote {
	struct gh_packet pkt;
	__u32 l3;
};

/* Every quotation has at least these bytes of L4: ports, or an echo's identifier. */
#define GH_QUOTED_L4_BYTES 8

static __always_inline int gh_icmp_quote_ipv4(struct __sk_buff *skb, struct gh_icmp_quote *quote)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, quote->l3, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return -1;
	/* Only the first fragment's head has ports. */
	if (ip.frag_off & bpf_htons(0x1fff))
		return -1;
	gh_address_from_ipv4(&quote->pkt.src, ip.saddr);
	gh_address_from_ipv4(&quote->pkt.dst, ip.daddr);
	quote->pkt.protocol = ip.protocol;
	quote->pkt.l4 = quote->l3 + ip.ihl * 4;
	return 0;
}

static __always_inline int gh_icmp_quote_ipv6(struct __sk_buff *skb, struct gh_icmp_quote *quote)
{
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, quote->l3, &ip, sizeof(ip)) || ip.version != 6)
		return -1;
	__builtin_memcpy(&quote->pkt.src, &ip.saddr, sizeof(quote->pkt.src));
	__builtin_memcpy(&quote->pkt.dst, &ip.daddr, sizeof(quote->pkt.dst));
	quote->pkt.flags = GH_PACKET_IPV6;
	quote->pkt.protocol = ip.nexthdr;
	quote->pkt.l4 = quote->l3 + sizeof(ip);
	return 0;
}

/* Reads the quotation of the ICMP error *pkt. Returns 0, or -1 when it is broken, too short, or quotes an error. */
GH_GLOBAL int gh_icmp_quote(struct __sk_buff *skb, const struct gh_packet *pkt, struct gh_icmp_quote *quote)
{
	struct gh_icmp l4;

	if (!pkt || !quote)
		return -1;
	quote->l3 = pkt->l4 + sizeof(struct gh_icmp);
	if (gh_is_ipv6(pkt) ? gh_icmp_quote_ipv6(skb, quote) : gh_icmp_quote_ipv4(skb, quote))
		return -1;
	if (bpf_skb_load_bytes(skb, quote->pkt.l4, &l4, sizeof(l4)))
		return -1;
	switch (quote->pkt.protocol) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		quote->pkt.flags |= GH_PACKET_ECHO;
		quote->pkt.icmp_type = l4.type;
		if (gh_icmp_is_echo(gh_is_ipv6(pkt), l4.type))
			quote->pkt.sport = l4.id;
		else if (gh_icmp_is_echo_reply(gh_is_ipv6(pkt), l4.type))
			quote->pkt.dport = l4.id;
		else
			return -1;
		return 0;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		/* All three begin with source port, destination port. */
		__builtin_memcpy(&quote->pkt.sport, &l4, 2);
		__builtin_memcpy(&quote->pkt.dport, (void *)&l4 + 2, 2);
		return 0;
	default:
		return 0;
	}
}

#endif
