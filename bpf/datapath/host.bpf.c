// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The node's own devices: from_netdev and to_netdev at the device towards the fabric, from_host at gh_host. */
#include "lib/abi.h"
#include "lib/bpf.h"
#include "lib/conntrack.h"
#include "lib/deliver.h"
#include "lib/drop.h"
#include "lib/masquerade.h"
#include "lib/parse.h"

static __always_inline bool is_pod(const struct gh_endpoint *ep)
{
	return ep && !gh_endpoint_is_host(ep);
}

/* For the node's address: the node's own, or an answer for a masqueraded pod. */
static __always_inline int netdev_to_node(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct gh_endpoint *ep;
	int verdict;

	if (!(node_config.flags & GH_NODE_MASQUERADE))
		return TC_ACT_OK;
	verdict = gh_masquerade_in(skb, pkt);
	if (verdict == TC_ACT_UNSPEC)
		return TC_ACT_OK;
	if (verdict != TC_ACT_OK)
		return verdict;
	ep = gh_endpoint_find(&pkt->dst);
	if (!is_pod(ep))
		return GH_DROP_NO_ENDPOINT;
	/* The stack would answer with the pod's address, which the world does not know. */
	if (pkt->ttl <= 1)
		return GH_DROP_TTL_EXCEEDED;
	verdict = gh_ct_track(skb, pkt, GH_IDENTITY_WORLD);
	return gh_is_drop(verdict) ? verdict : gh_deliver_local(skb, pkt, ep);
}

/* Ingress of the device towards the fabric. */
SEC("tc")
int from_netdev(struct __sk_buff *skb)
{
	struct gh_packet pkt = {};
	const struct gh_endpoint *ep;
	int verdict = gh_parse(skb, &pkt);

	if (verdict == TC_ACT_UNSPEC)
		return TC_ACT_OK;
	ep = gh_endpoint_find(&pkt.dst);
	if (!ep)
		return TC_ACT_OK;
	if (gh_endpoint_is_host(ep)) {
		/* What we cannot read may still mean something to the node's stack. */
		if (verdict != TC_ACT_OK)
			return TC_ACT_OK;
		return gh_finish(skb, &pkt, netdev_to_node(skb, &pkt), GH_INGRESS);
	}
	if (likely(verdict == TC_ACT_OK))
		verdict = gh_ct_track(skb, &pkt, 0);
	if (likely(!gh_is_drop(verdict)))
		verdict = gh_deliver_local(skb, &pkt, ep);
	return gh_finish(skb, &pkt, verdict, GH_INGRESS);
}

/* A pod's packet that came through the stack: its program left it there, undone. */
static __always_inline int netdev_from_pod(struct __sk_buff *skb, struct gh_packet *pkt)
{
	if (gh_ipcache_in_cluster(gh_ipcache_find(&pkt->dst)) || gh_ct_is_reply(pkt))
		return TC_ACT_OK;
	return gh_masquerade_out(skb, pkt);
}

/* The node's own packet is not changed, but its port must not be given away. */
static __always_inline int netdev_from_node(const struct gh_packet *pkt)
{
	if (!gh_nat_is_possible(pkt) || !gh_nat_is_our_port(pkt->sport) ||
	    gh_ipcache_in_cluster(gh_ipcache_find(&pkt->dst)))
		return TC_ACT_OK;
	return gh_nat_reserve(pkt);
}

/* Egress of the device towards the fabric. */
SEC("tc")
int to_netdev(struct __sk_buff *skb)
{
	struct gh_packet pkt = {};
	const struct gh_endpoint *ep;
	int verdict;

	if (likely(gh_is_done(skb)) || !(node_config.flags & GH_NODE_MASQUERADE))
		return TC_ACT_OK;
	verdict = gh_parse(skb, &pkt);
	if (verdict == TC_ACT_UNSPEC)
		return TC_ACT_OK;
	ep = gh_endpoint_find(&pkt.src);
	if (!ep)
		return TC_ACT_OK;
	if (gh_endpoint_is_host(ep))
		verdict = verdict == TC_ACT_OK ? netdev_from_node(&pkt) : TC_ACT_OK;
	else if (verdict == TC_ACT_OK)
		verdict = netdev_from_pod(skb, &pkt);
	return gh_finish(skb, &pkt, verdict, GH_EGRESS);
}

/* To an address that no pod of this node has: of another node's pod, or of nobody. */
static __always_inline int host_to_elsewhere(struct __sk_buff *skb, const struct gh_packet *pkt)
{
	const struct gh_ipcache_entry *to = gh_ipcache_find(&pkt->dst);
	const struct gh_endpoint *from;

	if (!gh_ipcache_in_cluster(to) || gh_address_is_zero(&to->node_addr))
		return GH_DROP_NO_ENDPOINT;
	if (!(to->flags & GH_IPCACHE_TUNNEL))
		return gh_send_native(skb, to);
	/* The stack may be forwarding for a pod. */
	from = gh_endpoint_find(&pkt->src);
	return gh_send_tunnel(skb, to, is_pod(from) ? from->identity : GH_IDENTITY_HOST);
}

static __always_inline int host_sends(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct gh_endpoint *ep;
	int verdict;

	/* The device's own chatter; nobody listens behind it. */
	if (gh_address_is_multicast(&pkt->dst) || gh_address_is_unroutable(&pkt->dst))
		return TC_ACT_OK;
	ep = gh_endpoint_find(&pkt->dst);
	if (!is_pod(ep))
		return host_to_elsewhere(skb, pkt);
	verdict = gh_ct_track(skb, pkt, GH_IDENTITY_HOST);
	return gh_is_drop(verdict) ? verdict : gh_deliver_local_from_stack(skb, ep);
}

/* Egress of gh_host: what the node's own processes, or its stack, send to pods. */
SEC("tc")
int from_host(struct __sk_buff *skb)
{
	struct gh_packet pkt = {};
	int verdict = gh_parse(skb, &pkt);

	if (verdict == TC_ACT_UNSPEC)
		return TC_ACT_OK;
	if (verdict == TC_ACT_OK)
		verdict = host_sends(skb, &pkt);
	return gh_finish(skb, &pkt, verdict, GH_INGRESS);
}

char LICENSE[] SEC("license") = "GPL";
