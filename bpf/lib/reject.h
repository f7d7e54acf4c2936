/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Nobody is there: TCP is told by a reset (RFC 9293, 3.10.7.1), others by "port unreachable" (RFC 792, RFC 4443). */
#ifndef GLASSHIVE_LIB_REJECT_H
#define GLASSHIVE_LIB_REJECT_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include "lib/too_big.h"

/* The answer from its IP header on, as the frame will have it; an IPv4 header ends where the IPv6 one does. */
struct gh_refusal {
	struct ipv6hdr ipv6;
	union {
		struct tcphdr tcp;
		struct {
			struct gh_icmp icmp;
			__u8 quote[GH_QUOTE_BYTES];
		};
		__be32 words[20];
	};
};

/* From whom was called to who called; bytes: of what follows the header. Returns the sum of the pseudo header. */
static __always_inline __s64 gh_refusal_head(struct gh_refusal *made, const struct gh_packet *pkt, __u8 protocol,
					     __u32 bytes)
{
	struct iphdr *ip = (void *)&made->ipv6 + sizeof(made->ipv6) - sizeof(*ip);
	__be32 pseudo[4] = { pkt->dst.words[3], pkt->src.words[3], bpf_htonl(bytes), bpf_htonl(protocol) };

	if (gh_is_ipv6(pkt)) {
		made->ipv6.version = 6;
		made->ipv6.payload_len = bpf_htons(bytes);
		made->ipv6.nexthdr = protocol;
		made->ipv6.hop_limit = 64;
		__builtin_memcpy(&made->ipv6.saddr, &pkt->dst, sizeof(made->ipv6.saddr));
		__builtin_memcpy(&made->ipv6.daddr, &pkt->src, sizeof(made->ipv6.daddr));
		return bpf_csum_diff(NULL, 0, (void *)&made->ipv6.saddr, 32, bpf_csum_diff(NULL, 0, pseudo + 2, 8, 0));
	}
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(sizeof(*ip) + bytes);
	ip->ttl = 64;
	ip->protocol = protocol;
	ip->saddr = pkt->dst.words[3];
	ip->daddr = pkt->src.words[3];
	ip->check = gh_fold(bpf_csum_diff(NULL, 0, (void *)ip, sizeof(*ip), 0));
	return bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), 0);
}

/* The frame becomes *made, and goes back to where it came from. bytes: of what follows its IP header. */
static __always_inline int gh_refusal_send(struct __sk_buff *skb, const struct gh_packet *pkt, struct gh_refusal *made,
					   __u32 bytes)
{
	const __u32 l3 = gh_is_ipv6(pkt) ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u8 macs[2][ETH_ALEN];
	int failed;

	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)) || bpf_skb_change_tail(skb, ETH_HLEN + l3 + bytes, 0))
		return GH_DROP_WRITE_FAILED;
	failed = bpf_skb_store_bytes(skb, 0, macs[1], ETH_ALEN, 0);
	failed |= bpf_skb_store_bytes(skb, ETH_ALEN, macs[0], ETH_ALEN, 0);
	if (gh_is_ipv6(pkt))
		failed |= bpf_skb_store_bytes(skb, ETH_HLEN, &made->ipv6, sizeof(struct ipv6hdr), 0);
	else
		failed |= bpf_skb_store_bytes(skb, ETH_HLEN,
					      (void *)&made->ipv6 + sizeof(struct ipv6hdr) - sizeof(struct iphdr),
					      sizeof(struct iphdr), 0);
	failed |= bpf_skb_store_bytes(skb, ETH_HLEN + l3, made->words, bytes, 0);
	return failed ? GH_DROP_WRITE_FAILED : gh_send_back(skb);
}

/* Returns TC_ACT_REDIRECT, INVALID_L4_HEADER, NO_BACKEND: a reset is not answered; or WRITE_FAILED. */
GH_GLOBAL int gh_reject_tcp(struct __sk_buff *skb, const struct gh_packet *pkt)
{
	struct gh_refusal made = {};
	struct tcphdr asked;
	__s64 sum;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (pkt->tcp_flags & GH_TCP_RST)
		return GH_DROP_NO_BACKEND;
	if (bpf_skb_load_bytes(skb, pkt->l4, &asked, sizeof(asked)))
		return GH_DROP_INVALID_L4_HEADER;
	sum = gh_refusal_head(&made, pkt, IPPROTO_TCP, sizeof(made.tcp));
	made.tcp.source = pkt->dport;
	made.tcp.dest = pkt->sport;
	made.tcp.doff = sizeof(made.tcp) / 4;
	made.tcp.rst = 1;
	if (asked.ack) {
		made.tcp.seq = asked.ack_seq;
	} else {
		made.tcp.ack = 1;
		made.tcp.ack_seq = bpf_htonl(bpf_ntohl(asked.seq) + asked.syn + asked.fin);
	}
	made.tcp.check = gh_fold(bpf_csum_diff(NULL, 0, made.words, sizeof(made.tcp), sum));
	return gh_refusal_send(skb, pkt, &made, sizeof(made.tcp));
}

/* An IP header and 8 bytes. Options and extension headers take their place. */
#define GH_REFUSED_IPV4_BYTES 28
#define GH_REFUSED_IPV6_BYTES 48

/* Returns TC_ACT_REDIRECT, INVALID_L4_HEADER or WRITE_FAILED. */
GH_GLOBAL int gh_reject_icmp(struct __sk_buff *skb, const struct gh_packet *pkt)
{
	struct gh_refusal made = {};
	__u32 bytes;
	__s64 sum;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	bytes = sizeof(made.icmp) + (gh_is_ipv6(pkt) ? GH_REFUSED_IPV6_BYTES : GH_REFUSED_IPV4_BYTES);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, made.quote, bytes - sizeof(made.icmp)))
		return GH_DROP_INVALID_L4_HEADER;
	sum = gh_refusal_head(&made, pkt, gh_is_ipv6(pkt) ? IPPROTO_ICMPV6 : IPPROTO_ICMP, bytes);
	made.icmp.type = gh_is_ipv6(pkt) ? GH_ICMPV6_UNREACHABLE : GH_ICMP_UNREACHABLE;
	made.icmp.code = gh_is_ipv6(pkt) ? GH_ICMPV6_PORT_UNREACHABLE : GH_ICMP_PORT_UNREACHABLE;
	made.icmp.check = gh_fold(bpf_csum_diff(NULL, 0, made.words, sizeof(made.words), gh_is_ipv6(pkt) ? sum : 0));
	return gh_refusal_send(skb, pkt, &made, bytes);
}

/* Tell the packet's sender that nobody answers. Returns as the two above do. */
static __always_inline int gh_reject(struct __sk_buff *skb, const struct gh_packet *pkt)
{
	if (!gh_has_l4(pkt))
		return GH_DROP_NO_BACKEND;
	return pkt->protocol == IPPROTO_TCP ? gh_reject_tcp(skb, pkt) : gh_reject_icmp(skb, pkt);
}

#endif
