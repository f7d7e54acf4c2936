/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Change one end (address and port) of a packet; checksums follow. For a quoted packet see rewrite_quote.h. */
#ifndef GLASSHIVE_LIB_REWRITE_H
#define GLASSHIVE_LIB_REWRITE_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include "lib/icmp_error.h"
#include "lib/packet.h"

enum gh_end {
	GH_END_SRC,
	GH_END_DST,
};

static __always_inline __u32 gh_address_offset(bool ipv6, enum gh_end end)
{
	if (ipv6)
		return end == GH_END_SRC ? offsetof(struct ipv6hdr, saddr) : offsetof(struct ipv6hdr, daddr);
	return end == GH_END_SRC ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr);
}

/* Where a protocol keeps its checksum, counted from its header; 0: it has none that could be mended in part. */
static __always_inline __u32 gh_checksum_offset(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 2;
	default:
		return 0;
	}
}

static __always_inline __u32 gh_port_offset(const struct gh_packet *pkt, enum gh_end end)
{
	if (pkt->flags & GH_PACKET_ECHO)
		return offsetof(struct gh_icmp, id);
	return end == GH_END_SRC ? 0 : 2;
}

/* What replacing one address by the other adds to a ones' complement sum. */
static __always_inline __s64 gh_address_diff(bool ipv6, union gh_address *old, union gh_address *new)
{
	if (ipv6)
		return bpf_csum_diff(old->words, 16, new->words, 16, 0);
	return bpf_csum_diff(&old->words[3], 4, &new->words[3], 4, 0);
}

static __always_inline __s64 gh_half_diff(__be16 old, __be16 new)
{
	__be32 from = old, to = new;

	return bpf_csum_diff(&from, 4, &to, 4, 0);
}

static __always_inline int gh_store_address(struct __sk_buff *skb, __u32 offset, bool ipv6,
					    const union gh_address *addr)
{
	if (ipv6)
		return bpf_skb_store_bytes(skb, offset, addr, 16, 0);
	return bpf_skb_store_bytes(skb, offset, &addr->words[3], 4, 0);
}

/*
 * The L4 checksum and port of the packet itself. diff: of the addresses; an IPv4 ICMP checksum does not cover them.
 * Returns TC_ACT_OK or GH_DROP_WRITE_FAILED.
 */
GH_GLOBAL int gh_rewrite_l4(struct __sk_buff *skb, const struct gh_packet *pkt, enum gh_end end,
			    const struct gh_nat_entry *to, __u64 diff)
{
	__be16 old_port, new_port;
	__u32 l4, check;
	__u64 flags;

	if (!pkt || !to)
		return GH_DROP_WRITE_FAILED;
	l4 = pkt->l4 & GH_L4_MASK;
	check = gh_checksum_offset(pkt->protocol);
	/* A UDP checksum of 0 means "none", and must neither be mended nor be the result (RFC 768). */
	flags = pkt->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	if (check && pkt->protocol != IPPROTO_ICMP &&
	    bpf_l4_csum_replace(skb, l4 + check, 0, diff, flags | BPF_F_PSEUDO_HDR))
		return GH_DROP_WRITE_FAILED;
	old_port = end == GH_END_SRC ? pkt->sport : pkt->dport;
	new_port = to->port;
	if (old_port == new_port || (pkt->flags & GH_PACKET_ICMP_ERROR))
		return TC_ACT_OK;
	/* Apart from the addresses: with checksum offload the kernel sums the ports later, the addresses now. */
	if (check && bpf_l4_csum_replace(skb, l4 + check, old_port, new_port, flags | 2))
		return GH_DROP_WRITE_FAILED;
	if (bpf_skb_store_bytes(skb, l4 + gh_port_offset(pkt, end), &new_port, 2, 0))
		return GH_DROP_WRITE_FAILED;
	return TC_ACT_OK;
}

/* Changes one end of the packet, and *pkt with it. Returns TC_ACT_OK or GH_DROP_WRITE_FAILED. */
GH_GLOBAL int gh_rewrite(struct __sk_buff *skb, struct gh_packet *pkt, enum gh_end end, const struct gh_nat_entry *to)
{
	union gh_address *addr, new;
	__be16 *port;
	bool ipv6;
	__s64 diff;

	if (!pkt || !to)
		return GH_DROP_INVALID_PACKET;
	addr = end == GH_END_SRC ? &pkt->src : &pkt->dst;
	port = end == GH_END_SRC ? &pkt->sport : &pkt->dport;
	new = to->addr;
	ipv6 = gh_is_ipv6(pkt);
	diff = gh_address_diff(ipv6, addr, &new);
	if (gh_has_l4(pkt) && gh_rewrite_l4(skb, pkt, end, to, diff) != TC_ACT_OK)
		return GH_DROP_WRITE_FAILED;
	if (!ipv6 && bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), 0, diff, 0))
		return GH_DROP_WRITE_FAILED;
	if (gh_store_address(skb, ETH_HLEN + gh_address_offset(ipv6, end), ipv6, &new))
		return GH_DROP_WRITE_FAILED;
	*addr = new;
	if (!(pkt->flags & GH_PACKET_ICMP_ERROR))
		*port = to->port;
	return TC_ACT_OK;
}

#endif
