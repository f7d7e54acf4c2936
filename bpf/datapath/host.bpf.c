// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The node's own devices: from_netdev and to_netdev at the device towards the fabric, from_host at gh_host. */
#include "lib/abi.h"
#include "lib/admit.h"
#include "lib/bpf.h"
#include "lib/deliver.h"
#include "lib/drop.h"
#include "lib/host.h"
#include "lib/l2_responder.h"
#include "lib/masquerade.h"
#include "lib/parse.h"
#include "lib/service.h"

static __always_inline bool is_pod(const struct gh_endpoint *ep)
{
	return ep && !gh_endpoint_is_host(ep);
}

/* To a pod of this node. Who sends is known to ipcache, which is asked if policy wants to know. */
static __always_inline int netdev_to_pod(struct __sk_buff *skb, struct gh_packet *pkt, const struct gh_endpoint *ep)
{
	struct gh_parties ends = {};
	int verdict;

	gh_party_of(&ends.dst, ep);
	verdict = gh_admit(skb, pkt, &ends);
	return gh_is_drop(verdict) ? verdict : gh_deliver_local(skb, pkt, ep);
}

/* An answer for a masqueraded pod, already translated. */
static __always_inline int netdev_to_masqueraded(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct gh_endpoint *ep = gh_endpoint_find(&pkt->dst);

	if (!is_pod(ep))
		return GH_DROP_NO_ENDPOINT;
	/* The stack would answer with the pod's address, which the world does not know. */
	if (pkt->ttl <= 1)
		return GH_DROP_TTL_EXCEEDED;
	return netdev_to_pod(skb, pkt, ep);
}

/* For the node's address: the node's own, or an answer for a masqueraded pod. parsed: what gh_parse() said. */
static __always_inline int netdev_to_node(struct __sk_buff *skb, struct gh_packet *pkt, const struct gh_endpoint *ep,
					  int parsed)
{
	struct gh_parties ends = {};
	int verdict;

	gh_party_of(&ends.dst, ep);
	if (parsed != TC_ACT_OK)
		return gh_host_unreadable(&ends.dst, GH_ENDPOINT_INGRESS_ENFORCED, parsed);
	if (node_config.flags & GH_NODE_MASQUERADE) {
		verdict = gh_masquerade_in(skb, pkt);
		if (verdict == TC_ACT_OK)
			return netdev_to_masqueraded(skb, pkt);
		if (verdict != TC_ACT_UNSPEC)
			return verdict;
	}
	return gh_admit_host(skb, pkt, &ends, &ends.dst);
}

/* Ingress of the device towards the fabric. */
SEC("tc")
int from_netdev(struct __sk_buff *skb)
{
	struct gh_packet pkt = {};
	const struct gh_endpoint *ep;
	int verdict = gh_parse(skb, &pkt);

	if (verdict == TC_ACT_UNSPEC)
		return gh_finish(skb, &pkt, gh_l2_answer_arp(skb), GH_INGRESS);
	ep = gh_endpoint_find(&pkt.dst);
	if (!ep && !gh_is_neighbour_question(&pkt))
		return TC_ACT_OK;
	if (!ep)
		verdict = gh_l2_answer_neighbour(skb, &pkt);
	else if (gh_endpoint_is_host(ep))
		verdict = netdev_to_node(skb, &pkt, ep, verdict);
	else if (likely(verdict == TC_ACT_OK))
		verdict = netdev_to_pod(skb, &pkt, ep);
	return gh_finish(skb, &pkt, verdict, GH_INGRESS);
}

/* A pod's packet that came through the stack: its program left it there, undone. */
static __always_inline int netdev_from_pod(struct __sk_buff *skb, struct gh_packet *pkt)
{
	if (gh_ipcache_in_cluster(gh_ipcache_find(&pkt->dst)) || gh_ct_is_reply(pkt))
		return TC_ACT_OK;
	return gh_masquerade_out(skb, pkt);
}

/* The node's own packet is not changed, but its port must not be given away. parsed: what gh_parse() said. */
static __always_inline int netdev_from_node(struct __sk_buff *skb, struct gh_packet *pkt, const struct gh_endpoint *ep,
					    int parsed)
{
	struct gh_parties ends = {};
	int verdict;

	gh_party_of(&ends.src, ep);
	if (parsed != TC_ACT_OK)
		return gh_host_unreadable(&ends.src, GH_ENDPOINT_EGRESS_ENFORCED, parsed);
	verdict = gh_admit_host(skb, pkt, &ends, &ends.src);
	if (gh_is_drop(verdict) || !(node_config.flags & GH_NODE_MASQUERADE))
		return verdict;
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

	if (likely(gh_is_done(skb)))
		return TC_ACT_OK;
	verdict = gh_parse(skb, &pkt);
	if (verdict == TC_ACT_UNSPEC)
		return TC_ACT_OK;
	ep = gh_endpoint_find(&pkt.src);
	if (!ep)
		return TC_ACT_OK;
	if (gh_endpoint_is_host(ep))
		verdict = netdev_from_node(skb, &pkt, ep, verdict);
	else if (verdict == TC_ACT_OK && (node_config.flags & GH_NODE_MASQUERADE))
		verdict = netdev_from_pod(skb, &pkt);
	return gh_finish(skb, &pkt, verdict, GH_EGRESS);
}

/* To an address that no pod of this node has: of another node's pod, or of nobody. */
static __always_inline int host_to_elsewhere(struct __sk_buff *skb, struct gh_packet *pkt, struct gh_parties *ends)
{
	const struct gh_ipcache_entry *to = gh_ipcache_find(&pkt->dst);
	int verdict;

	if (!gh_ipcache_in_cluster(to) || gh_address_is_zero(&to->node_addr))
		return GH_DROP_NO_ENDPOINT;
	ends->dst.identity = to->identity;
	verdict = gh_admit_host(skb, pkt, ends, &ends->src);
	if (gh_is_drop(verdict))
		return verdict;
	if (!(to->flags & GH_IPCACHE_TUNNEL))
		return gh_send_native(skb, to);
	/* The stack may be forwarding for a pod. */
	return gh_send_tunnel(
		skb, to, ends->src.endpoint && !gh_party_is_host(&ends->src) ? ends->src.identity : GH_IDENTITY_HOST);
}

static __always_inline int host_sends(struct __sk_buff *skb, struct gh_packet *pkt)
{
	struct gh_parties ends = {};
	const struct gh_endpoint *ep;
	int verdict;

	/* The device's own chatter; nobody listens behind it. */
	if (gh_address_is_multicast(&pkt->dst) || gh_address_is_unroutable(&pkt->dst))
		return TC_ACT_OK;
	gh_party_find(&ends.src, &pkt->src);
	ep = gh_endpoint_find(&pkt->dst);
	if (!is_pod(ep))
		return host_to_elsewhere(skb, pkt, &ends);
	gh_party_of(&ends.dst, ep);
	verdict = gh_admit(skb, pkt, &ends);
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
