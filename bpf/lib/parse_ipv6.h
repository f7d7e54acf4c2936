/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* IPv6 header and its chain of extension headers (RFC 8200, section 4). */
#ifndef GLASSHIVE_LIB_PARSE_IPV6_H
#define GLASSHIVE_LIB_PARSE_IPV6_H

#include <linux/ipv6.h>
#include "lib/packet.h"

#define GH_IPV6_MAX_EXTENSIONS 6
#define GH_IPV6_FRAGMENT_MORE 1
#define GH_IPV6_FRAGMENT_OFFSET 0xfff8

struct gh_ipv6_fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

static __always_inline bool gh_ipv6_is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS ||
	       protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_AH;
}

/* What a fragment header says. Returns whether this is a later fragment: what follows is no header then. */
static __always_inline bool gh_ipv6_is_later(struct gh_packet *pkt, const struct gh_ipv6_fragment *header)
{
	const __u16 place = bpf_ntohs(header->offset);

	if (place & (GH_IPV6_FRAGMENT_OFFSET | GH_IPV6_FRAGMENT_MORE)) {
		pkt->flags |= GH_PACKET_FRAGMENT;
		pkt->fragment_id = header->id;
	}
	if (place & GH_IPV6_FRAGMENT_OFFSET)
		pkt->flags |= GH_PACKET_LATER;
	return place & GH_IPV6_FRAGMENT_OFFSET;
}

/*
 * One step along the chain: l4 and protocol move behind the extension header that they point to. Returns TC_ACT_PIPE when
 * another one follows, TC_ACT_OK at the chain's end, or GH_DROP_INVALID_EXTENSION.
 */
GH_GLOBAL int gh_ipv6_extension(struct __sk_buff *skb, struct gh_packet *pkt)
{
	struct gh_ipv6_fragment header;
	__u32 bytes;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (bpf_skb_load_bytes(skb, pkt->l4, &header, sizeof(header)))
		return GH_DROP_INVALID_EXTENSION;
	/* Source routing of type 0 lets the sender choose the path; RFC 5095 forbids it. */
	if (pkt->protocol == IPPROTO_ROUTING && (bpf_ntohs(header.offset) >> 8) == 0)
		return GH_DROP_INVALID_EXTENSION;
	bytes = (header.reserved + 1) * 8;
	if (pkt->protocol == IPPROTO_AH)
		bytes = (header.reserved + 2) * 4;
	if (pkt->protocol == IPPROTO_FRAGMENT) {
		bytes = sizeof(header);
		if (gh_ipv6_is_later(pkt, &header)) {
			pkt->protocol = header.next;
			return TC_ACT_OK;
		}
	}
	pkt->protocol = header.next;
	pkt->l4 += bytes;
	return gh_ipv6_is_extension(header.next) ? TC_ACT_PIPE : TC_ACT_OK;
}

/* Walks the chain. Returns TC_ACT_OK with l4 and protocol moved behind it, or GH_DROP_INVALID_EXTENSION. */
static __always_inline int gh_ipv6_extensions(struct __sk_buff *skb, struct gh_packet *pkt)
{
	int verdict = TC_ACT_PIPE;
	__u32 bytes;

#pragma clang loop unroll(disable)
	for (int i = 0; i < GH_IPV6_MAX_EXTENSIONS && verdict == TC_ACT_PIPE; i++)
		verdict = gh_ipv6_extension(skb, pkt);
	if (verdict != TC_ACT_OK || !gh_has_l4(pkt))
		return verdict == TC_ACT_PIPE ? GH_DROP_INVALID_EXTENSION : verdict;
	if (pkt->l4 > GH_L4_MASK)
		return GH_DROP_INVALID_EXTENSION;
	bytes = pkt->l4 + 20;
	bpf_skb_pull_data(skb, bytes < skb->len ? bytes : skb->len);
	return TC_ACT_OK;
}

/* Returns TC_ACT_OK, GH_DROP_INVALID_PACKET or GH_DROP_INVALID_EXTENSION. */
static __always_inline int gh_parse_ipv6(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct ipv6hdr *ip = (void *)(long)skb->data + ETH_HLEN;
	__u32 length;

	pkt->flags = GH_PACKET_IPV6 | GH_PACKET_DF;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end || ip->version != 6)
		return GH_DROP_INVALID_PACKET;
	length = ETH_HLEN + sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (unlikely(length > skb->len))
		return GH_DROP_INVALID_PACKET;
	__builtin_memcpy(&pkt->src, &ip->saddr, sizeof(pkt->src));
	__builtin_memcpy(&pkt->dst, &ip->daddr, sizeof(pkt->dst));
	pkt->protocol = ip->nexthdr;
	pkt->ttl = ip->hop_limit;
	pkt->l4 = ETH_HLEN + sizeof(*ip);
	if (unlikely(gh_ipv6_is_extension(ip->nexthdr)))
		return gh_ipv6_extensions(skb, pkt);
	return TC_ACT_OK;
}

#endif
