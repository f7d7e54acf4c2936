// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The VXLAN device: from_overlay sees what other nodes have sent through the tunnel, already decapsulated. */
#include "lib/abi.h"
#include "lib/bpf.h"
#include "lib/conntrack.h"
#include "lib/deliver.h"
#include "lib/drop.h"
#include "lib/parse.h"

static __always_inline int overlay_arrives(struct __sk_buff *skb, struct gh_packet *pkt)
{
	struct bpf_tunnel_key key = {};
	const struct gh_endpoint *ep;
	int verdict;

	/* The old, short form of the key: the network identifier and an IPv4 or IPv6 sender that we do not use. */
	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) &&
	    bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6))
		return GH_DROP_TUNNEL_KEY;
	ep = gh_endpoint_find(&pkt->dst);
	if (!ep)
		return GH_DROP_NO_ENDPOINT;
	verdict = gh_ct_track(skb, pkt, key.tunnel_id);
	if (gh_is_drop(verdict))
		return verdict;
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
