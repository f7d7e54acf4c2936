// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The host side of a pod's veth pair: from_pod sees what the pod sends, to_pod what the stack delivers to it. */
#include "lib/bpf.h"
#include "lib/conntrack.h"
#include "lib/deliver.h"
#include "lib/drop.h"
#include "lib/gateway.h"
#include "lib/parse.h"

/* To an address that no endpoint of this node has. */
static __always_inline int pod_to_elsewhere(struct __sk_buff *skb, struct gh_packet *pkt,
					    const struct gh_endpoint *self)
{
	const struct gh_ipcache_entry *to = gh_ipcache_find(&pkt->dst);

	if (to && (to->flags & GH_IPCACHE_TUNNEL))
		return gh_send_tunnel(skb, to, self->identity);
	return gh_send_native(skb, to);
}

static __always_inline int pod_sends(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct gh_endpoint *self, *ep;
	int verdict;

	if (unlikely(gh_is_neighbour_question(pkt)))
		return gh_answer_neighbour(skb, pkt);
	self = gh_endpoint_sender(&pkt->src, skb->ifindex);
	if (unlikely(!self))
		return gh_address_is_multicast(&pkt->dst) ? GH_DROP_MULTICAST : GH_DROP_INVALID_SOURCE_IP;
	verdict = gh_ct_track(skb, pkt, self->identity);
	if (unlikely(gh_is_drop(verdict)))
		return verdict;
	ep = gh_endpoint_find(&pkt->dst);
	if (!ep)
		return pod_to_elsewhere(skb, pkt, self);
	if (gh_endpoint_is_host(ep))
		return TC_ACT_OK;
	return gh_deliver_local(skb, pkt, ep);
}

/* Ingress of the pod's host side. */
SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	struct gh_packet pkt = {};
	int verdict = skb->vlan_present ? GH_DROP_VLAN : gh_parse(skb, &pkt);

	if (likely(verdict == TC_ACT_OK))
		verdict = pod_sends(skb, &pkt);
	else if (verdict == TC_ACT_UNSPEC)
		verdict = gh_answer_arp(skb, &pkt);
	return gh_finish(skb, &pkt, verdict, GH_EGRESS);
}

char LICENSE[] SEC("license") = "GPL";
