/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The last step of a packet's walk: into a local pod, to another node, or through the tunnel. */
#ifndef GLASSHIVE_LIB_DELIVER_H
#define GLASSHIVE_LIB_DELIVER_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include "lib/endpoint.h"
#include "lib/ipcache.h"
#include "lib/packet.h"

static __always_inline void gh_write_macs(struct ethhdr *eth, const struct gh_endpoint *ep)
{
	__builtin_memcpy(eth->h_dest, ep->mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, ep->host_mac, ETH_ALEN);
}

/* One hop less, with the IPv4 header checksum kept right (RFC 1624). The caller has seen that ttl is above 1. */
static __always_inline int gh_decrement_ttl(struct __sk_buff *skb, const struct gh_packet *pkt)
{
	void *l3 = (void *)(long)skb->data + ETH_HLEN;
	struct iphdr *ip = l3;
	__u32 sum;

	if (gh_is_ipv6(pkt)) {
		if (l3 + sizeof(struct ipv6hdr) > (void *)(long)skb->data_end)
			return GH_DROP_WRITE_FAILED;
		((struct ipv6hdr *)l3)->hop_limit--;
		return TC_ACT_OK;
	}
	if (l3 + sizeof(*ip) > (void *)(long)skb->data_end)
		return GH_DROP_WRITE_FAILED;
	sum = ip->check + bpf_htons(0x0100);
	ip->check = sum + (sum >= 0xffff);
	ip->ttl--;
	return TC_ACT_OK;
}

static __always_inline int gh_rewrite_for_pod(struct __sk_buff *skb, const struct gh_endpoint *ep)
{
	struct ethhdr *eth = (void *)(long)skb->data;

	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return GH_DROP_WRITE_FAILED;
	gh_write_macs(eth, ep);
	return TC_ACT_OK;
}

/*
 * Decision, ingress hooks: hand the packet to a pod of this node, straight into its namespace.
 * Returns TC_ACT_REDIRECT; TC_ACT_OK when no hop is left, so that the kernel's stack answers; or WRITE_FAILED.
 */
static __always_inline int gh_deliver_local(struct __sk_buff *skb, const struct gh_packet *pkt,
					    const struct gh_endpoint *ep)
{
	int verdict;

	if (unlikely(pkt->ttl <= 1))
		return TC_ACT_OK;
	verdict = gh_decrement_ttl(skb, pkt);
	if (verdict == TC_ACT_OK)
		verdict = gh_rewrite_for_pod(skb, ep);
	return verdict == TC_ACT_OK ? bpf_redirect_peer(ep->ifindex, 0) : verdict;
}

/*
 * Decision, egress hooks: redirect_peer is for ingress only, so send out of the pod's device on the host side.
 * The stack has counted the hop. Returns TC_ACT_REDIRECT or WRITE_FAILED.
 */
static __always_inline int gh_deliver_local_from_stack(struct __sk_buff *skb, const struct gh_endpoint *ep)
{
	int verdict = gh_rewrite_for_pod(skb, ep);

	if (verdict != TC_ACT_OK)
		return verdict;
	gh_mark_done(skb);
	return bpf_redirect(ep->ifindex, 0);
}

/*
 * Decision: send to another node or to the world, unencapsulated, by the kernel's neighbour table. Without an
 * on-link next hop the helper asks the routing table too. Returns TC_ACT_REDIRECT (the helper drops on failure).
 */
static __always_inline int gh_send_native(struct __sk_buff *skb, const struct gh_ipcache_entry *to)
{
	struct bpf_redir_neigh hop = {};

	gh_mark_done(skb);
	if (!to || !(to->flags & GH_IPCACHE_ONLINK))
		return bpf_redirect_neigh(node_config.device_ifindex, NULL, 0, 0);
	if (gh_address_is_ipv4(&to->node_addr)) {
		hop.nh_family = 2; /* AF_INET */
		hop.ipv4_nh = to->node_addr.words[3];
	} else {
		hop.nh_family = 10; /* AF_INET6 */
		__builtin_memcpy(hop.ipv6_nh, &to->node_addr, sizeof(hop.ipv6_nh));
	}
	return bpf_redirect_neigh(node_config.device_ifindex, &hop, sizeof(hop), 0);
}

/*
 * Decision: send through the VXLAN device to to->node_addr; the network identifier is the sender's identity.
 * Returns TC_ACT_REDIRECT, NO_TUNNEL or WRITE_FAILED.
 */
GH_GLOBAL int gh_send_tunnel(struct __sk_buff *skb, const struct gh_ipcache_entry *to, __u32 identity)
{
	struct bpf_tunnel_key key = { .tunnel_id = identity, .tunnel_ttl = 64 };
	__u64 flags = BPF_F_ZERO_CSUM_TX;

	if (!to)
		return GH_DROP_NO_TUNNEL;
	if (!node_config.overlay_ifindex)
		return GH_DROP_NO_TUNNEL;
	if (gh_address_is_ipv4(&to->node_addr)) {
		key.remote_ipv4 = bpf_ntohl(to->node_addr.words[3]);
	} else {
		__builtin_memcpy(key.remote_ipv6, &to->node_addr, sizeof(key.remote_ipv6));
		/* UDP over IPv6 keeps its checksum (RFC 8200, 8.1): the other end need not be told to do without. */
		flags = BPF_F_TUNINFO_IPV6;
	}
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags))
		return GH_DROP_WRITE_FAILED;
	gh_mark_done(skb);
	return bpf_redirect(node_config.overlay_ifindex, 0);
}

#endif
