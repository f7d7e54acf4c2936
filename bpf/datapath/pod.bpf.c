// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The host side of a pod's veth pair: from_pod sees what the pod sends, to_pod what the stack delivers to it. */
#include "lib/abi.h"
#include "lib/admit.h"
#include "lib/bpf.h"
#include "lib/deliver.h"
#include "lib/drop.h"
#include "lib/gateway.h"
#include "lib/host.h"
#include "lib/masquerade.h"
#include "lib/parse.h"
#include "lib/service_way.h"
#include "lib/too_big.h"

/* To an address of another node's pod, of another node, or of the world. */
static __always_inline int pod_to_remote(struct __sk_buff *skb, struct gh_packet *pkt, const struct gh_endpoint *self,
					 const struct gh_ipcache_entry *to, bool masquerade)
{
	const bool tunnel = to && (to->flags & GH_IPCACHE_TUNNEL);
	const __u32 mtu = gh_path_mtu(to);
	int verdict;

	if (unlikely(pkt->ttl <= 1))
		return TC_ACT_OK;
	if (gh_is_too_big(skb, pkt, mtu)) {
		if (pkt->flags & GH_PACKET_DF)
			return gh_answer_too_big(skb, pkt, mtu);
		/* The stack fragments; a tunnel's outer packet is fragmented instead. */
		if (!tunnel)
			return TC_ACT_OK;
	}
	if (masquerade) {
		verdict = gh_masquerade_out(skb, pkt);
		if (verdict != TC_ACT_OK)
			return verdict;
	}
	verdict = gh_decrement_ttl(skb, pkt);
	if (verdict != TC_ACT_OK)
		return verdict;
	return tunnel ? gh_send_tunnel(skb, to, self->identity) : gh_send_native(skb, to);
}

/* To an address that no endpoint of this node has. */
static __always_inline int pod_to_elsewhere(struct __sk_buff *skb, struct gh_packet *pkt,
					    const struct gh_endpoint *self, const struct gh_ipcache_entry *to,
					    int connection)
{
	if (gh_ipcache_in_cluster(to)) {
		/* Not known where: the kernel's routing table decides. */
		if (gh_address_is_zero(&to->node_addr))
			return TC_ACT_OK;
		return pod_to_remote(skb, pkt, self, to, false);
	}
	if (unlikely(gh_address_is_multicast(&pkt->dst)))
		return GH_DROP_MULTICAST;
	if (unlikely(gh_address_is_unroutable(&pkt->dst)))
		return GH_DROP_UNROUTABLE;
	/* Who was called by the pod's own address answers from it. */
	return pod_to_remote(skb, pkt, self, to, (node_config.flags & GH_NODE_MASQUERADE) && connection != GH_CT_REPLY);
}

/* Is it worth asking whether a service is called? Never for what goes to other pods. */
static __always_inline bool pod_may_call(const struct gh_endpoint *ep, const struct gh_ipcache_entry *to)
{
	if (ep)
		return gh_endpoint_is_host(ep);
	return !gh_ipcache_in_cluster(to) || gh_is_node(to->identity);
}

/* To nobody who is known, or to a node: perhaps to a service. Returns as gh_service_call() does. */
static __always_inline int pod_calls(struct __sk_buff *skb, struct gh_packet *pkt, const struct gh_endpoint *ep,
				     const struct gh_ipcache_entry *to)
{
	const bool node = ep || gh_ipcache_in_cluster(to);
	int verdict;

	/* The answer of a pod that has called itself. */
	if (ep && (ep->flags & GH_ENDPOINT_ROUTER)) {
		verdict = gh_masquerade_in(skb, pkt);
		if (verdict != TC_ACT_UNSPEC)
			return verdict;
	}
	return gh_service_call(skb, pkt, node ? GH_CALL_NODE : 0);
}

static __always_inline int pod_sends(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct gh_ipcache_entry *to = NULL;
	const struct gh_endpoint *self, *ep;
	struct gh_parties ends = {};
	int verdict, connection;

	if (unlikely(gh_is_neighbour_question(pkt)))
		return gh_answer_neighbour(skb, pkt);
	self = gh_endpoint_sender(&pkt->src, skb->ifindex);
	if (unlikely(!self))
		return gh_address_is_multicast(&pkt->dst) ? GH_DROP_MULTICAST : GH_DROP_INVALID_SOURCE_IP;
	gh_party_of(&ends.src, self);
	ep = gh_endpoint_find(&pkt->dst);
	if (!ep)
		to = gh_ipcache_find(&pkt->dst);
	if (pod_may_call(ep, to)) {
		verdict = pod_calls(skb, pkt, ep, to);
		if (verdict == TC_ACT_OK) {
			ep = gh_endpoint_find(&pkt->dst);
			to = ep ? NULL : gh_ipcache_find(&pkt->dst);
		} else if (verdict != TC_ACT_UNSPEC) {
			return verdict;
		}
	}
	if (ep)
		gh_party_of(&ends.dst, ep);
	else
		ends.dst.identity = gh_remote_identity(to ? to->identity : 0, gh_is_ipv6(pkt));
	connection = gh_admit(skb, pkt, &ends);
	if (unlikely(gh_is_drop(connection)))
		return connection;
	verdict = gh_service_restore(skb, pkt);
	if (unlikely(verdict != TC_ACT_OK))
		return verdict;
	if (!ep)
		return pod_to_elsewhere(skb, pkt, self, to, connection);
	if (gh_endpoint_is_host(ep))
		return TC_ACT_OK;
	/* A pod answers itself only by way of the router. */
	if (unlikely(ep == self && (pkt->flags & GH_PACKET_CALL))) {
		verdict = gh_service_source(skb, pkt, true);
		if (verdict != TC_ACT_OK)
			return verdict;
	}
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

static __always_inline int pod_receives(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct gh_endpoint *ep;
	struct gh_parties ends = {};
	int verdict;

	/* Neighbour discovery and the like between the two ends of the veth pair. */
	if (gh_address_is_multicast(&pkt->dst) || gh_address_is_unroutable(&pkt->dst))
		return TC_ACT_OK;
	ep = gh_endpoint_find(&pkt->dst);
	if (!ep || ep->ifindex != skb->ifindex)
		return GH_DROP_WRONG_POD;
	gh_party_of(&ends.dst, ep);
	gh_party_find(&ends.src, &pkt->src);
	verdict = gh_admit(skb, pkt, &ends);
	return gh_is_drop(verdict) ? verdict : gh_service_restore(skb, pkt);
}

/* Egress of the pod's host side: what the kernel's stack, not a program of ours, sends into the pod. */
SEC("tc")
int to_pod(struct __sk_buff *skb)
{
	struct gh_packet pkt = {};
	int verdict;

	if (likely(gh_is_done(skb)))
		return TC_ACT_OK;
	verdict = gh_parse(skb, &pkt);
	if (verdict == TC_ACT_UNSPEC)
		return TC_ACT_OK;
	if (verdict == TC_ACT_OK)
		verdict = pod_receives(skb, &pkt);
	return gh_finish(skb, &pkt, verdict, GH_INGRESS);
}

char LICENSE[] SEC("license") = "GPL";
