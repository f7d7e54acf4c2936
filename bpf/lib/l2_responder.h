/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* L2 announcements: the node whose agent holds a service's lease answers ARP and neighbour discovery for its addresses. */
#ifndef GLASSHIVE_LIB_L2_RESPONDER_H
#define GLASSHIVE_LIB_L2_RESPONDER_H

#include "lib/address.h"
#include "lib/neighbour.h"
#include "types/l2_responder.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct gh_l2_responder_key);
	__type(value, struct gh_l2_responder);
} l2_responders SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gh_l2_term);
} l2_term SEC(".maps");

/* Does this node answer for the address? Counts the answer. */
static __always_inline bool gh_l2_is_ours(const union gh_address *addr, __u32 ifindex)
{
	struct gh_l2_responder_key key = { .addr = *addr, .ifindex = ifindex };
	struct gh_l2_responder *responder = bpf_map_lookup_elem(&l2_responders, &key);
	const struct gh_l2_term *term;
	__u32 zero = 0;

	if (!responder)
		return false;
	term = bpf_map_lookup_elem(&l2_term, &zero);
	if (!term || bpf_ktime_get_ns() >= term->until_ns)
		return false;
	__sync_fetch_and_add(&responder->responses_sent, 1);
	return true;
}

static __always_inline void gh_l2_own_mac(__u8 *mac)
{
	for (int i = 0; i < ETH_ALEN; i++)
		mac[i] = node_config.device_mac[i];
}

/*
 * Decision: is this ARP frame a question for an address that the node answers for? Others are the stack's business.
 * Returns TC_ACT_REDIRECT: it is the answer now; TC_ACT_OK; GH_DROP_WRITE_FAILED.
 */
GH_GLOBAL int gh_l2_answer_arp(struct __sk_buff *skb)
{
	union gh_address asked;
	struct gh_arp arp;
	__u8 mac[ETH_ALEN];

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)) || !gh_arp_is_question(&arp))
		return TC_ACT_OK;
	gh_address_from_ipv4(&asked, arp.target_ip);
	/* Who asks for its own address announces it (RFC 5227): the node that answers from now on. */
	if (arp.sender_ip == arp.target_ip || !gh_l2_is_ours(&asked, skb->ifindex))
		return TC_ACT_OK;
	gh_l2_own_mac(mac);
	return gh_arp_answer(skb, &arp, mac);
}

/* The same for a neighbour solicitation (RFC 4861, 7.2.4). */
GH_GLOBAL int gh_l2_answer_neighbour(struct __sk_buff *skb, const struct gh_packet *pkt)
{
	struct gh_neighbour_advert advert = {};
	__u8 mac[ETH_ALEN], asker[ETH_ALEN];

	if (!pkt || pkt->ttl != 255 || bpf_skb_load_bytes(skb, ETH_ALEN, asker, sizeof(asker)) ||
	    bpf_skb_load_bytes(skb, pkt->l4 + 8, &advert.target, sizeof(advert.target)))
		return TC_ACT_OK;
	if (!gh_l2_is_ours(&advert.target, skb->ifindex))
		return TC_ACT_OK;
	gh_l2_own_mac(mac);
	__builtin_memcpy(&advert.ip.saddr, &advert.target, sizeof(advert.ip.saddr));
	advert.flags = GH_ND_ADVERT_OVERRIDE;
	if (gh_address_is_zero(&pkt->src)) {
		/* Somebody wants to use the address and asks whether it is taken: all nodes are told (RFC 4862, 5.4). */
		advert.ip.daddr.s6_addr[0] = 0xff;
		advert.ip.daddr.s6_addr[1] = 0x02;
		advert.ip.daddr.s6_addr[15] = 1;
	} else {
		__builtin_memcpy(&advert.ip.daddr, &pkt->src, sizeof(advert.ip.daddr));
		advert.flags |= GH_ND_ADVERT_SOLICITED;
	}
	return gh_advert_send(skb, &advert, asker, mac);
}

#endif
