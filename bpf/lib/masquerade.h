/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Pods reach the world under the node's address: translation out, answers and ICMP errors back. */
#ifndef GLASSHIVE_LIB_MASQUERADE_H
#define GLASSHIVE_LIB_MASQUERADE_H

#include "lib/icmp_error.h"
#include "lib/nat.h"
#include "lib/rewrite.h"
#include "lib/rewrite_quote.h"

static __always_inline bool gh_is_readable_error(const struct gh_packet *pkt)
{
	return (pkt->flags & GH_PACKET_ICMP_ERROR) && gh_has_l4(pkt);
}

/* The key of the quoted packet, seen in the other direction: a quotation shows what was sent, the error goes back. */
static __always_inline const struct gh_nat_entry *gh_nat_find_quoted(const struct gh_packet *quoted,
								     enum gh_nat_direction direction)
{
	struct gh_nat_key key = { .src = quoted->dst,
				  .dst = quoted->src,
				  .sport = quoted->dport,
				  .dport = quoted->sport,
				  .protocol = quoted->protocol,
				  .direction = direction };

	return bpf_map_lookup_elem(&nat, &key);
}

/* A pod complains to the world about an answer it got. Without a mapping the connection was never translated. */
GH_GLOBAL int gh_masquerade_error_out(struct __sk_buff *skb, struct gh_packet *pkt)
{
	struct gh_icmp_quote quote = {};
	const struct gh_nat_entry *node_end;
	struct gh_nat_entry to;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (gh_icmp_quote(skb, pkt, &quote))
		return GH_DROP_INVALID_L4_HEADER;
	node_end = gh_nat_find_quoted(&quote.pkt, GH_NAT_OUT);
	if (!node_end)
		return TC_ACT_OK;
	to = *node_end;
	if (gh_rewrite_quote(skb, pkt, &quote, GH_END_DST, &to) != TC_ACT_OK)
		return GH_DROP_WRITE_FAILED;
	return gh_rewrite(skb, pkt, GH_END_SRC, &to);
}

/*
 * Decision: translate what a pod sends to the world, *pkt with it.
 * Returns TC_ACT_OK, or a drop reason: NAT_EXHAUSTED, NAT_UNSUPPORTED, NAT_NO_ADDRESS, INVALID_L4_HEADER, WRITE_FAILED.
 */
GH_GLOBAL int gh_masquerade_out(struct __sk_buff *skb, struct gh_packet *pkt)
{
	struct gh_nat_entry to = {};
	int verdict;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (gh_is_readable_error(pkt))
		return gh_masquerade_error_out(skb, pkt);
	gh_nat_node_address(&to.addr, gh_is_ipv6(pkt));
	if (gh_address_is_zero(&to.addr))
		return GH_DROP_NAT_NO_ADDRESS;
	verdict = gh_nat_map_out(pkt, &to.addr, &to.port);
	if (verdict != TC_ACT_OK)
		return verdict;
	return gh_rewrite(skb, pkt, GH_END_SRC, &to);
}

/* The world complains about a packet of a pod, to the node's address. */
GH_GLOBAL int gh_masquerade_error_in(struct __sk_buff *skb, struct gh_packet *pkt)
{
	struct gh_icmp_quote quote = {};
	const struct gh_nat_entry *pod_end;
	struct gh_nat_entry to;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (gh_icmp_quote(skb, pkt, &quote))
		return TC_ACT_UNSPEC;
	pod_end = gh_nat_find_quoted(&quote.pkt, GH_NAT_IN);
	if (!pod_end || (pod_end->flags & GH_NAT_HOST))
		return TC_ACT_UNSPEC;
	to = *pod_end;
	if (gh_rewrite_quote(skb, pkt, &quote, GH_END_SRC, &to) != TC_ACT_OK)
		return GH_DROP_WRITE_FAILED;
	return gh_rewrite(skb, pkt, GH_END_DST, &to);
}

/*
 * Decision: is this packet to the node an answer for a pod? Then translate it, *pkt with it.
 * Returns TC_ACT_OK: translated; TC_ACT_UNSPEC: the node's own, untouched; or WRITE_FAILED.
 */
GH_GLOBAL int gh_masquerade_in(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct gh_nat_entry *pod_end;
	struct gh_nat_entry to;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (gh_is_readable_error(pkt))
		return gh_masquerade_error_in(skb, pkt);
	if (!gh_nat_is_possible(pkt) || (pkt->protocol != IPPROTO_SCTP && !gh_nat_is_our_port(pkt->dport)))
		return TC_ACT_UNSPEC;
	pod_end = gh_nat_find_in(pkt);
	if (!pod_end || (pod_end->flags & GH_NAT_HOST))
		return TC_ACT_UNSPEC;
	to = *pod_end;
	return gh_rewrite(skb, pkt, GH_END_DST, &to);
}

#endif
