/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* ARP and neighbour discovery: questions, and how a frame that asks becomes the one that answers. */
#ifndef GLASSHIVE_LIB_NEIGHBOUR_H
#define GLASSHIVE_LIB_NEIGHBOUR_H

#include <linux/ipv6.h>
#include "lib/address.h"
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
#define GH_ND_ADVERT_ROUTER 0x80
#define GH_ND_ADVERT_SOLICITED 0x40
#define GH_ND_ADVERT_OVERRIDE 0x20

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

/* Send the frame back through the device that it came from. */
static __always_inline int gh_send_back(struct __sk_buff *skb)
{
	gh_mark_done(skb);
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline bool gh_arp_is_question(const struct gh_arp *arp)
{
	return arp->operation == bpf_htons(GH_ARP_REQUEST) && arp->hardware == bpf_htons(GH_ARP_ETHERNET) &&
	       arp->protocol == bpf_htons(ETH_P_IP);
}

/* The question *arp is answered with this link address. Returns TC_ACT_REDIRECT or GH_DROP_WRITE_FAILED. */
static __always_inline int gh_arp_answer(struct __sk_buff *skb, struct gh_arp *arp, const __u8 *mac)
{
	const __be32 asked = arp->target_ip;

	arp->operation = bpf_htons(GH_ARP_REPLY);
	arp->target_ip = arp->sender_ip;
	arp->sender_ip = asked;
	__builtin_memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
	__builtin_memcpy(arp->sender_mac, mac, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, arp->target_mac, ETH_ALEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_ALEN, arp->sender_mac, ETH_ALEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, arp, sizeof(*arp), 0))
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

/*
 * The frame becomes this advertisement, to and from these link addresses. Addresses, target and flags are filled in.
 * Returns TC_ACT_REDIRECT or GH_DROP_WRITE_FAILED.
 */
static __always_inline int gh_advert_send(struct __sk_buff *skb, struct gh_neighbour_advert *advert, const __u8 *to,
					  const __u8 *from)
{
	advert->ip.version = 6;
	advert->ip.payload_len = bpf_htons(sizeof(*advert) - sizeof(advert->ip));
	advert->ip.nexthdr = IPPROTO_ICMPV6;
	advert->ip.hop_limit = 255;
	advert->type = GH_ICMPV6_NEIGHBOUR_ADVERT;
	advert->option_type = GH_ND_TARGET_LINK_ADDRESS;
	advert->option_words = 1;
	__builtin_memcpy(advert->option_mac, from, ETH_ALEN);
	advert->check = gh_advert_checksum(advert);
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(*advert), 0) || bpf_skb_store_bytes(skb, 0, to, ETH_ALEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_ALEN, from, ETH_ALEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, advert, sizeof(*advert), 0))
		return GH_DROP_WRITE_FAILED;
	return gh_send_back(skb);
}

#endif
