/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The pods' gateway is no machine: a program answers ARP and neighbour discovery for its address. */
#ifndef GLASSHIVE_LIB_GATEWAY_H
#define GLASSHIVE_LIB_GATEWAY_H

#include "lib/address.h"
#include "lib/endpoint.h"
#include "lib/neighbour.h"

/* Decision: TC_ACT_REDIRECT when it was a question for the gateway and is now the answer, else a drop reason. */
GH_GLOBAL int gh_answer_arp(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct gh_endpoint *ep;
	union gh_address src;
	struct gh_arp arp;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)))
		return GH_DROP_INVALID_PACKET;
	gh_address_from_ipv4(&pkt->src, arp.sender_ip);
	gh_address_from_ipv4(&pkt->dst, arp.target_ip);
	if (!gh_arp_is_question(&arp) || arp.target_ip != node_config.router_ipv4.words[3])
		return GH_DROP_NEIGHBOUR;
	src = pkt->src;
	ep = gh_endpoint_sender(&src, skb->ifindex);
	if (!ep)
		return GH_DROP_INVALID_SOURCE_IP;
	return gh_arp_answer(skb, &arp, ep->host_mac);
}

/* Decision: TC_ACT_REDIRECT when it was a question for the gateway and is now the answer, else a drop reason. */
GH_GLOBAL int gh_answer_neighbour(struct __sk_buff *skb, const struct gh_packet *pkt)
{
	struct gh_neighbour_advert advert = {};
	const struct gh_endpoint *ep;
	union gh_address src;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	src = pkt->src;
	ep = gh_endpoint_sender(&src, skb->ifindex);
	if (!ep)
		return gh_address_is_multicast(&pkt->dst) ? GH_DROP_NEIGHBOUR : GH_DROP_INVALID_SOURCE_IP;
	/* A hop limit below 255 means that the question has come from elsewhere (RFC 4861, 7.1.1). */
	if (pkt->ttl != 255 || bpf_skb_load_bytes(skb, pkt->l4 + 8, &advert.target, sizeof(advert.target)))
		return GH_DROP_INVALID_PACKET;
	/* The constants are volatile: take each word once, into the address that the answer comes from. */
	for (int i = 0; i < 4; i++)
		advert.ip.saddr.s6_addr32[i] = node_config.router_ipv6.words[i];
	if (!gh_address_equal(&advert.target, (void *)&advert.ip.saddr))
		return GH_DROP_NEIGHBOUR;
	__builtin_memcpy(&advert.ip.daddr, &pkt->src, sizeof(advert.ip.daddr));
	advert.flags = GH_ND_ADVERT_ROUTER | GH_ND_ADVERT_SOLICITED | GH_ND_ADVERT_OVERRIDE;
	return gh_advert_send(skb, &advert, ep->mac, ep->host_mac);
}

#endif
