// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The VXLAN device: from_overlay sees what other nodes have sent through the tunnel, already decapsulated. */
#include "lib/abi.h"
#include "lib/admit.h"
#include "lib/bpf.h"
#include "lib/deliver.h"
#include "lib/drop.h"
#include "lib/host.h"
#include "lib/parse.h"
#include "lib/service_way.h"

/* Who has sent this? The network identifier says it, but a node's own processes are "host" only to themselves. */
static __always_inline __u32 overlay_identity(const struct gh_packet *pkt, __u32 told)
{
	__u32 known;

	if (likely(told != GH_IDENTITY_HOST))
		return told;
	known = gh_ipcache_identity(&pkt->src);
	return gh_is_world(known) || known == GH_IDENTITY_HOST ? GH_IDENTITY_REMOTE_NODE : known;
}

/* The network identifier, 24 bits; -1: the packet came without any. */
GH_GLOBAL int overlay_told(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};

	/* The old, short form of the key: the network identifier and an IPv4 or IPv6 sender that we do not use. */
	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) &&
	    bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6))
		return -1;
	return key.tunnel_id & 0xffffff;
}

static __always_inline int overlay_arrives(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const int told = overlay_told(skb);
	const struct gh_endpoint *ep;
	struct gh_parties ends = {};
	int verdict;

	if (told < 0)
		return GH_DROP_TUNNEL_KEY;
	ep = gh_endpoint_find(&pkt->dst);
	if (!ep)
		return GH_DROP_NO_ENDPOINT;
	ends.src.identity = overlay_identity(pkt, told);
	/* An answer to a call from outside that was sent on with the router's address. */
	if (ep->flags & GH_ENDPOINT_ROUTER) {
		verdict = gh_masquerade_in(skb, pkt);
		if (verdict == TC_ACT_OK)
			ep = gh_endpoint_find(&pkt->dst);
		else if (verdict != TC_ACT_UNSPEC)
			return verdict;
	}
	if (ep)
		gh_party_of(&ends.dst, ep);
	if (!ep || !gh_endpoint_is_host(ep) || gh_is_firewalled(&ends.dst)) {
		verdict = gh_admit(skb, pkt, &ends);
		if (!gh_is_drop(verdict))
			verdict = gh_service_restore(skb, pkt);
		if (gh_is_drop(verdict))
			return verdict;
	}
	if (!ep)
		return pkt->ttl > 1 ? gh_service_pass(skb, pkt) : GH_DROP_TTL_EXCEEDED;
	/* The inner destination MAC is not this device's, so the kernel took the frame for another host's. */
	bpf_skb_change_type(skb, 0 /* PACKET_HOST */);
	return gh_endpoint_is_host(ep) ? TC_ACT_OK : gh_deliver_local(skb, pkt, ep);
}

/* Ingress of the VXLAN device. */
SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	struct gh_packet pkt = {};
	int verdict = gh_parse(skb, &pkt);

	if (likely(verdict == TC_ACT_OK))
		verdict = overlay_arrives(skb, &pkt);
	else if (verdict == TC_ACT_UNSPEC)
		verdict = GH_DROP_UNSUPPORTED_L3;
	return gh_finish(skb, &pkt, verdict, GH_INGRESS);
}

char LICENSE[] SEC("license") = "GPL";
