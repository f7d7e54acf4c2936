/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the fabric brings to a node: for a pod, for the node itself, or for one of the addresses it answers for. */
#ifndef GLASSHIVE_LIB_ARRIVE_H
#define GLASSHIVE_LIB_ARRIVE_H

#include "lib/admit.h"
#include "lib/deliver.h"
#include "lib/host.h"
#include "lib/l2_responder.h"
#include "lib/masquerade.h"
#include "lib/service_way.h"

static __always_inline bool gh_is_pod(const struct gh_endpoint *ep)
{
	return ep && !gh_endpoint_is_host(ep);
}

/* For the node itself. parsed: what gh_parse() said. */
static __always_inline int gh_arrive_at_node(struct __sk_buff *skb, struct gh_packet *pkt, const struct gh_endpoint *ep,
					     int parsed)
{
	struct gh_parties ends = {};

	gh_party_of(&ends.dst, ep);
	if (parsed != TC_ACT_OK)
		return gh_host_unreadable(&ends.dst, GH_ENDPOINT_INGRESS_ENFORCED, parsed);
	return gh_admit_host(skb, pkt, &ends, &ends.dst);
}

/*
 * Decision: an address of the node, or one that nobody of this node has, may stand for somebody else: for a masqueraded
 * pod or a service's client that is answered, or for a service's backend.
 * Returns TC_ACT_OK: translated; TC_ACT_UNSPEC: it does not, the packet is untouched; or as gh_service_call() does.
 */
static __always_inline int gh_arrive_translate(struct __sk_buff *skb, struct gh_packet *pkt, bool node)
{
	int verdict = node ? gh_masquerade_in(skb, pkt) : TC_ACT_UNSPEC;

	if (verdict != TC_ACT_UNSPEC)
		return verdict;
	return gh_service_call(skb, pkt, GH_CALL_EXTERNAL | (node ? GH_CALL_NODE : 0));
}

/* To whom it is for: a pod of this node, or, of a service's connection, a process of the node or somebody elsewhere. */
static __always_inline int gh_arrive_at(struct __sk_buff *skb, struct gh_packet *pkt, const struct gh_endpoint *ep)
{
	struct gh_parties ends = {};
	int verdict;

	/* Who sends is known to ipcache, which is asked if policy wants to know. */
	if (ep)
		gh_party_of(&ends.dst, ep);
	verdict = gh_admit(skb, pkt, &ends);
	if (!gh_is_drop(verdict))
		verdict = gh_service_restore(skb, pkt);
	if (gh_is_drop(verdict))
		return verdict;
	if (gh_is_pod(ep))
		return gh_deliver_local(skb, pkt, ep);
	return ep ? TC_ACT_OK : gh_service_pass(skb, pkt);
}

static __always_inline int gh_arrive(struct __sk_buff *skb, struct gh_packet *pkt, int parsed)
{
	const struct gh_endpoint *ep = gh_endpoint_find(&pkt->dst);
	int verdict;

	if (gh_is_pod(ep))
		return likely(parsed == TC_ACT_OK) ? gh_arrive_at(skb, pkt, ep) : parsed;
	if (!ep && gh_is_neighbour_question(pkt))
		return gh_l2_answer_neighbour(skb, pkt);
	verdict = parsed == TC_ACT_OK ? gh_arrive_translate(skb, pkt, ep) : TC_ACT_UNSPEC;
	if (verdict == TC_ACT_UNSPEC)
		return ep ? gh_arrive_at_node(skb, pkt, ep, parsed) : TC_ACT_OK;
	if (verdict != TC_ACT_OK)
		return verdict;
	/* The stack would answer with an address that the sender does not know. */
	if (pkt->ttl <= 1)
		return GH_DROP_TTL_EXCEEDED;
	return gh_arrive_at(skb, pkt, gh_endpoint_find(&pkt->dst));
}

#endif
