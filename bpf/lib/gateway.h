/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The pods' gateway is no machine: a program answers ARP and neighbour discovery for its address. */
#ifndef GLASSHIVE_LIB_GATEWAY_H
#define GLASSHIVE_LIB_GATEWAY_H

#include <linux/ipv6.h>
#include "lib/address.h"
#include "lib/endpoint.h"
#include "lib/icmp.h"
#include "lib/packet.h"

#define GH_ARP_ETHERNET 1
#define GH_ARP_REQUEST 1
#define GH_ARP_REPLY 2

/* ARP for IPv4 over Ethernet (RFC 826). */
struct gh_arp {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_bytes;
	__u8 protocol_bytes;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender_ip;
	__u8 target_mac[ETH_ALEN];
	__be32 target_ip;
} __attribute__((packed));

#define GH_ND_TARGET_LINK_ADDRESS 2 /* option type, RFC 4861, 4.6.1 */
#define GH_ND_ADVERT_FLAGS 0xe0 /* router, solicited, override */

/* A neighbour advertisement as it stands in a frame, from the IPv6 header on. */
struct gh_neighbour_advert {
	struct ipv6hdr ip;
	__u8 type;
	__u8 code;
	__be16 check;
	__u8 flags;
	__u8 reserved[3];
	union gh_address target;
	__u8 option_type;
	__u8 option_words;
	__u8 option_mac[ETH_ALEN];
};
_Static_assert(sizeof(struct gh_neighbour_advert) == 72, "as on the wire, without packing");

/* Send the frame back to the pod it came from. */
static __always_inline int gh_send_back(struct __sk_buff *skb)
{
	gh_mark_done(skb);
	return bpf_redirect(skb->ifindex, 0);
}

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
	if (arp.operation != bpf_htons(GH_ARP_REQUEST) || arp.hardware != bpf_htons(GH_ARP_ETHERNET) ||
	    arp.protocol != bpf_htons(ETH_P_IP) || arp.target_ip != node_config.router_ipv4.words[3])
		return GH_DROP_NEIGHBOUR;
	src = pkt->src;
	ep = gh_endpoint_sender(&src, skb->ifindex);
	if (!ep)
		return GH_DROP_INVALID_SOURCE_IP;
	arp.operation = bpf_htons(GH_ARP_REPLY);
	arp.target_ip = arp.sender_ip;
	arp.sender_ip = node_config.router_ipv4.words[3];
	__builtin_memcpy(arp.target_mac, arp.sender_mac, ETH_ALEN);
	__builtin_memcpy(arp.sender_mac, ep->host_mac, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, arp.target_mac, ETH_ALEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_ALEN, arp.sender_mac, ETH_ALEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &arp, sizeof(arp), 0))
		return GH_DROP_WRITE_FAILED;
	return gh_send_back(skb);
}

static __always_inline bool gh_is_neighbour_question(const struct gh_packet *pkt)
{
	return pkt->protocol == IPPROTO_ICMPV6 && pkt->icmp_type == GH_ICMPV6_NEIGHBOUR_SOLICITATION;
}

/* Ones' complement sum over the message and its pseudo header (RFC 8200, 8.1). */
static __always_inline __be16 gh_advert_checksum(struct gh_neighbour_advert *advert)
{
	__be32 pseudo[2] = { bpf_htonl(sizeof(*advert) - sizeof(advert->ip)), bpf_htonl(IPPROTO_ICMPV6) };
	__s64 sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), 0);

	/* Both addresses and the message lie behind each other, from the source address on. */
	sum = bpf_csum_diff(NULL, 0, (void *)advert + 8, sizeof(*advert) - 8, sum);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
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
	advert.ip.version = 6;
	advert.ip.payload_len = bpf_htons(sizeof(advert) - sizeof(advert.ip));
	advert.ip.nexthdr = IPPROTO_ICMPV6;
	advert.ip.hop_limit = 255;
	__builtin_memcpy(&advert.ip.daddr, &pkt->src, sizeof(advert.ip.daddr));
	advert.type = GH_ICMPV6_NEIGHBOUR_ADVERT;
	advert.flags = GH_ND_ADVERT_FLAGS;
	advert.option_type = GH_ND_TARGET_LINK_ADDRESS;
	advert.option_words = 1;
	__builtin_memcpy(advert.option_mac, ep->host_mac, ETH_ALEN);
	advert.check = gh_advert_checksum(&advert);
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(advert), 0) ||
	    bpf_skb_store_bytes(skb, 0, ep->mac, ETH_ALEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_ALEN, ep->host_mac, ETH_ALEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &advert, sizeof(advert), 0))
		return GH_DROP_WRITE_FAILED;
	return gh_send_back(skb);
}

#endif
