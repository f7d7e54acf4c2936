/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Frame -> struct gh_packet: Ethernet, IPv4 with options, IPv6 with extension headers, TCP, UDP, SCTP, ICMP. */
#ifndef GLASSHIVE_LIB_PARSE_H
#define GLASSHIVE_LIB_PARSE_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include "lib/address.h"
#include "lib/fragment.h"
#include "lib/icmp.h"
#include "lib/packet.h"
#include "lib/parse_ipv6.h"

#define GH_IPV4_MF 0x2000
#define GH_IPV4_DF 0x4000
#define GH_IPV4_OFFSET 0x1fff

/* Longest header chain that is looked at in place: Ethernet, IPv6, a few extensions, TCP without options. */
#define GH_LINEAR_BYTES 128

/* Make the headers readable in place; big packets may carry them in page fragments. */
static __always_inline void gh_pull_headers(struct __sk_buff *skb)
{
	__u32 linear = skb->data_end - skb->data;

	if (unlikely(linear < GH_LINEAR_BYTES && linear < skb->len))
		bpf_skb_pull_data(skb, skb->len < GH_LINEAR_BYTES ? skb->len : GH_LINEAR_BYTES);
}

static __always_inline int gh_parse_icmp(struct gh_packet *pkt, const struct gh_icmp *icmp)
{
	const bool ipv6 = gh_is_ipv6(pkt);

	pkt->icmp_type = icmp->type;
	pkt->icmp_code = icmp->code;
	if (gh_icmp_is_echo(ipv6, icmp->type)) {
		pkt->flags |= GH_PACKET_ECHO;
		pkt->sport = icmp->id;
	} else if (gh_icmp_is_echo_reply(ipv6, icmp->type)) {
		pkt->flags |= GH_PACKET_ECHO;
		pkt->dport = icmp->id;
	} else if (gh_icmp_is_error(ipv6, icmp->type)) {
		pkt->flags |= GH_PACKET_ICMP_ERROR;
	}
	return TC_ACT_OK;
}

/* Returns TC_ACT_OK or GH_DROP_INVALID_L4_HEADER. Other protocols have no ports and pass. */
static __always_inline int gh_parse_l4(struct __sk_buff *skb, struct gh_packet *pkt)
{
	void *l4 = (void *)(long)skb->data + (pkt->l4 & GH_L4_MASK);
	void *end = (void *)(long)skb->data_end;
	const struct tcphdr *tcp = l4;

	switch (pkt->protocol) {
	case IPPROTO_TCP:
		if (l4 + sizeof(*tcp) > end || tcp->doff < 5)
			return GH_DROP_INVALID_L4_HEADER;
		pkt->tcp_flags = ((const __u8 *)l4)[13];
		break;
	case IPPROTO_SCTP:
		if (l4 + 12 > end)
			return GH_DROP_INVALID_L4_HEADER;
		break;
	case IPPROTO_UDP:
		if (l4 + 8 > end)
			return GH_DROP_INVALID_L4_HEADER;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (l4 + sizeof(struct gh_icmp) > end || (pkt->protocol == IPPROTO_ICMPV6) != gh_is_ipv6(pkt))
			return GH_DROP_INVALID_L4_HEADER;
		return gh_parse_icmp(pkt, l4);
	default:
		return TC_ACT_OK;
	}
	pkt->sport = tcp->source;
	pkt->dport = tcp->dest;
	return TC_ACT_OK;
}

/* Returns TC_ACT_OK or GH_DROP_INVALID_PACKET. */
static __always_inline int gh_parse_ipv4(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct iphdr *ip = (void *)(long)skb->data + ETH_HLEN;
	__u16 length, fragment;

	if ((void *)(ip + 1) > (void *)(long)skb->data_end || ip->version != 4 || ip->ihl < 5)
		return GH_DROP_INVALID_PACKET;
	length = bpf_ntohs(ip->tot_len);
	/* A length of 0 is a segmentation-offload packet above 64 KiB. */
	if (unlikely(length < ip->ihl * 4 || ETH_HLEN + length > skb->len) && !(length == 0 && skb->gso_size))
		return GH_DROP_INVALID_PACKET;
	gh_address_from_ipv4(&pkt->src, ip->saddr);
	gh_address_from_ipv4(&pkt->dst, ip->daddr);
	pkt->protocol = ip->protocol;
	pkt->ttl = ip->ttl;
	pkt->l4 = ETH_HLEN + ip->ihl * 4;
	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & GH_IPV4_DF)
		pkt->flags |= GH_PACKET_DF;
	if (unlikely(fragment & (GH_IPV4_MF | GH_IPV4_OFFSET))) {
		pkt->flags |= GH_PACKET_FRAGMENT | (fragment & GH_IPV4_OFFSET ? GH_PACKET_LATER : 0);
		pkt->fragment_id = ip->id;
	}
	return TC_ACT_OK;
}

/*
 * Decision: what is this frame?
 * Returns TC_ACT_OK: *pkt is filled in; TC_ACT_UNSPEC: ARP, *pkt is not;
 * a drop reason: UNSUPPORTED_L2, UNSUPPORTED_L3, INVALID_PACKET, INVALID_EXTENSION, INVALID_L4_HEADER, FRAGMENT_UNKNOWN.
 * *pkt must be all zero. As much of it as was understood is filled in also on a drop, for the record.
 */
GH_GLOBAL int gh_parse(struct __sk_buff *skb, struct gh_packet *pkt)
{
	int verdict;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	gh_pull_headers(skb);
	if (likely(skb->protocol == bpf_htons(ETH_P_IP)))
		verdict = gh_parse_ipv4(skb, pkt);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		verdict = gh_parse_ipv6(skb, pkt);
	else if (skb->protocol == bpf_htons(ETH_P_ARP))
		return TC_ACT_UNSPEC;
	else
		return skb->len < ETH_HLEN ? GH_DROP_UNSUPPORTED_L2 : GH_DROP_UNSUPPORTED_L3;
	if (unlikely(verdict != TC_ACT_OK))
		return verdict;
	if (unlikely(pkt->flags & GH_PACKET_LATER))
		return gh_fragment_find(pkt);
	verdict = gh_parse_l4(skb, pkt);
	if (unlikely(pkt->flags & GH_PACKET_FRAGMENT) && verdict == TC_ACT_OK)
		gh_fragment_remember(pkt);
	return verdict;
}

#endif
