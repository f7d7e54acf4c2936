/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* A packet that does not fit the next link: tell its pod the size that would (RFC 1191, RFC 8201). */
#ifndef GLASSHIVE_LIB_TOO_BIG_H
#define GLASSHIVE_LIB_TOO_BIG_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include "lib/conntrack.h"
#include "lib/gateway.h"
#include "lib/icmp.h"
#include "lib/packet.h"

/* Outer Ethernet, IP, UDP and VXLAN headers, less the Ethernet header that an MTU does not count. */
#define GH_VXLAN_IPV4_BYTES 50
#define GH_VXLAN_IPV6_BYTES 70

#define GH_QUOTE_BYTES 72 /* IPv4 header with all options and 8 bytes, or IPv6 header with 24 of extensions and 8 */

/* The error as it stands in the frame. Both headers are there; the IPv4 one ends where the IPv6 one does. */
struct gh_too_big {
	struct ipv6hdr ipv6;
	struct gh_icmp icmp;
	__u8 quote[GH_QUOTE_BYTES];
};

/* Length of the IP packets that leave: of one segment, when segmentation is left to the device. */
GH_GLOBAL __u32 gh_wire_bytes(struct __sk_buff *skb, const struct gh_packet *pkt)
{
	/* Verifier: volatile, or the compiler loads len and gso_size through one computed context pointer. */
	__u32 segment = *(volatile __u32 *)&skb->gso_size, headers;
	__u8 offset;

	if (!pkt)
		return 0;
	headers = pkt->l4 - ETH_HLEN + 8;
	if (!segment)
		return *(volatile __u32 *)&skb->len - ETH_HLEN;
	if (pkt->protocol == IPPROTO_TCP && !bpf_skb_load_bytes(skb, pkt->l4 + 12, &offset, 1))
		headers = pkt->l4 - ETH_HLEN + (offset >> 4) * 4;
	return headers + segment;
}

static __always_inline __be16 gh_fold(__s64 sum)
{
	__u64 folded = (__u32)sum;

	for (int i = 0; i < 2; i++)
		folded = (folded & 0xffff) + (folded >> 16);
	return ~folded;
}

static __always_inline void gh_too_big_ipv4(struct gh_too_big *error, const struct gh_packet *pkt, __u32 mtu,
					    __u32 bytes)
{
	struct iphdr *ip = (void *)&error->ipv6 + sizeof(error->ipv6) - sizeof(*ip);

	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(sizeof(*ip) + bytes);
	ip->ttl = 64;
	ip->protocol = IPPROTO_ICMP;
	ip->saddr = node_config.router_ipv4.words[3];
	ip->daddr = pkt->src.words[3];
	ip->check = gh_fold(bpf_csum_diff(NULL, 0, (void *)ip, sizeof(*ip), 0));
	error->icmp.type = GH_ICMP_UNREACHABLE;
	error->icmp.code = GH_ICMP_FRAGMENTATION_NEEDED;
	error->icmp.mtu = bpf_htons(mtu);
	error->icmp.check = gh_fold(bpf_csum_diff(NULL, 0, (void *)&error->icmp, 8 + GH_QUOTE_BYTES, 0));
}

static __always_inline void gh_too_big_ipv6(struct gh_too_big *error, const struct gh_packet *pkt, __u32 mtu,
					    __u32 bytes)
{
	__be32 pseudo[2] = { bpf_htonl(bytes), bpf_htonl(IPPROTO_ICMPV6) };
	__s64 sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), 0);

	error->ipv6.version = 6;
	error->ipv6.payload_len = bpf_htons(bytes);
	error->ipv6.nexthdr = IPPROTO_ICMPV6;
	error->ipv6.hop_limit = 64;
	for (int i = 0; i < 4; i++)
		error->ipv6.saddr.s6_addr32[i] = node_config.router_ipv6.words[i];
	__builtin_memcpy(&error->ipv6.daddr, &pkt->src, sizeof(error->ipv6.daddr));
	error->icmp.type = GH_ICMPV6_TOO_BIG;
	error->icmp.mtu_ipv6 = bpf_htonl(mtu);
	error->icmp.check = gh_fold(bpf_csum_diff(NULL, 0, (void *)&error->ipv6.saddr, 32 + 8 + GH_QUOTE_BYTES, sum));
}

/* The packet becomes the ICMP error about itself. Returns TC_ACT_REDIRECT (back to the pod) or a drop reason. */
GH_GLOBAL int gh_answer_too_big(struct __sk_buff *skb, const struct gh_packet *pkt, __u32 mtu)
{
	struct gh_too_big error = {};
	const struct gh_endpoint *ep;
	union gh_address src;
	__u64 quoted;
	__u32 l3;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	quoted = pkt->l4 - ETH_HLEN + GH_QUOTED_L4_BYTES;
	l3 = gh_is_ipv6(pkt) ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	/* The stack answers what is not quoted here, and never an error by an error. */
	if (!gh_has_l4(pkt) || (pkt->flags & GH_PACKET_ICMP_ERROR))
		return TC_ACT_OK;
	src = pkt->src;
	ep = gh_endpoint_sender(&src, skb->ifindex);
	/* Verifier: opaque, so that both bounds are tested right here, and on the whole register. */
	asm volatile("" : "+r"(quoted));
	if (quoted < sizeof(struct iphdr) || quoted > GH_QUOTE_BYTES)
		return TC_ACT_OK;
	if (!ep || bpf_skb_load_bytes(skb, ETH_HLEN, error.quote, quoted))
		return GH_DROP_INVALID_PACKET;
	if (gh_is_ipv6(pkt))
		gh_too_big_ipv6(&error, pkt, mtu, sizeof(error.icmp) + quoted);
	else
		gh_too_big_ipv4(&error, pkt, mtu, sizeof(error.icmp) + quoted);
	if (bpf_skb_change_tail(skb, ETH_HLEN + l3 + sizeof(error.icmp) + quoted, 0) ||
	    bpf_skb_store_bytes(skb, 0, ep->mac, ETH_ALEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_ALEN, ep->host_mac, ETH_ALEN, 0))
		return GH_DROP_WRITE_FAILED;
	if (gh_is_ipv6(pkt)
		    ? bpf_skb_store_bytes(skb, ETH_HLEN, &error, sizeof(struct ipv6hdr), 0)
		    : bpf_skb_store_bytes(skb, ETH_HLEN, (void *)&error + sizeof(struct ipv6hdr) - sizeof(struct iphdr),
					  sizeof(struct iphdr), 0))
		return GH_DROP_WRITE_FAILED;
	if (bpf_skb_store_bytes(skb, ETH_HLEN + l3, &error.icmp, sizeof(error.icmp), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + l3 + sizeof(error.icmp), error.quote, quoted, 0))
		return GH_DROP_WRITE_FAILED;
	return gh_send_back(skb);
}

/* How much the packet may measure on its way, in bytes; 0: no limit known. */
static __always_inline __u32 gh_path_mtu(const struct gh_ipcache_entry *to)
{
	__u32 mtu = node_config.device_mtu_bytes;

	if (!mtu || !to || !(to->flags & GH_IPCACHE_TUNNEL))
		return mtu;
	return mtu - (gh_address_is_ipv4(&to->node_addr) ? GH_VXLAN_IPV4_BYTES : GH_VXLAN_IPV6_BYTES);
}

/* Cheap test for the common case. Only when it says yes is the packet measured and answered. */
static __always_inline bool gh_is_too_big(struct __sk_buff *skb, const struct gh_packet *pkt, __u32 mtu)
{
	return mtu && unlikely(skb->len > mtu + ETH_HLEN) && gh_wire_bytes(skb, pkt) > mtu;
}

#endif
