// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The node's own devices: from_netdev and to_netdev at the device towards the fabric, from_host at gh_host. */
#include "lib/abi.h"
#include "lib/admit.h"
#include "lib/arrive.h"
#include "lib/bpf.h"
#include "lib/deliver.h"
#include "lib/drop.h"
#include "lib/host.h"
#include "lib/l2_responder.h"
#include "lib/masquerade.h"
#include "lib/parse.h"
#include "lib/service_way.h"
#include "lib/service.h"

/* Ingress of the device towards the fabric. */
SEC("tc")
int from_netdev(struct __sk_buff *skb)
{
	struct gh_packet pkt = {};
	int verdict = gh_parse(skb, &pkt);

	if (verdict == TC_ACT_UNSPEC)
		verdict = gh_l2_answer_arp(skb);
	else
		verdict = gh_arrive(skb, &pkt, verdict);
	return gh_finish(skb, &pkt, verdict, GH_INGRESS);
}

/* A pod's packet that came through the stack: its program left it there, undone. */
static __always_inline int netdev_from_pod(struct __sk_buff *skb, struct gh_packet *pkt)
{
	if (gh_ipcache_in_cluster(gh_ipcache_find(&pkt->dst)) || gh_ct_is_reply(pkt))
		return TC_ACT_OK;
	return gh_masquerade_out(skb, pkt);
}

/*
 * The node's process answers as a service's backend. Returns TC_ACT_OK: translated; TC_ACT_UNSPEC: it does not; or a drop
 * reason.
 */
GH_GLOBAL int netdev_answers(struct __sk_buff *skb, struct gh_packet *pkt, struct gh_parties *ends)
{
	int verdict;

	if (!pkt || !ends)
		return GH_DROP_INVALID_PACKET;
	if (gh_is_readable_error(pkt))
		return gh_service_error_answer(skb, pkt) == TC_ACT_OK ? TC_ACT_UNSPEC : GH_DROP_WRITE_FAILED;
	if (!gh_service_is_possible(pkt) || !gh_service_find_reply(pkt))
		return TC_ACT_UNSPEC;
	verdict = gh_admit_tracked(skb, pkt, ends);
	return gh_is_drop(verdict) ? verdict : gh_service_restore(skb, pkt);
}

/* The node's own packet is not changed unless a service's client gets it, but its port must not be given away. parsed: what gh_parse() said. */
static __always_inline int netdev_from_node(struct __sk_buff *skb, struct gh_packet *pkt, const struct gh_endpoint *ep,
					    int parsed)
{
	struct gh_parties ends = {};
	int verdict;

	gh_party_of(&ends.src, ep);
	if (parsed != TC_ACT_OK)
		return gh_host_unreadable(&ends.src, GH_ENDPOINT_EGRESS_ENFORCED, parsed);
	verdict = netdev_answers(skb, pkt, &ends);
	if (verdict != TC_ACT_UNSPEC)
		return verdict;
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
	if (!gh_is_pod(ep))
		return host_to_elsewhere(skb, pkt, &ends);
	gh_party_of(&ends.dst, ep);
	verdict = gh_admit(skb, pkt, &ends);
	if (!gh_is_drop(verdict))
		verdict = gh_service_restore(skb, pkt);
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
