/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The two halves of a service's connection: calls go on to a backend, answers leave with the address that was called. */
#ifndef GLASSHIVE_LIB_SERVICE_CALL_H
#define GLASSHIVE_LIB_SERVICE_CALL_H

#include "lib/masquerade.h"
#include "lib/reject.h"
#include "lib/rewrite.h"
#include "lib/rewrite_quote.h"
#include "lib/service_pick.h"
#include "lib/source_range.h"

enum gh_call {
	GH_CALL_EXTERNAL = GH_SCOPE_EXTERNAL, /* from outside the cluster, through this node */
	GH_CALL_NODE = 2, /* to an address of a node: NodePorts may be meant */
};

static __always_inline bool gh_service_is_possible(const struct gh_packet *pkt)
{
	return pkt->protocol == IPPROTO_TCP || pkt->protocol == IPPROTO_UDP || pkt->protocol == IPPROTO_SCTP;
}

static __always_inline const struct gh_frontend *gh_service_find(const struct gh_packet *pkt, __u32 how)
{
	const struct gh_frontend *frontend = gh_frontend_find(&pkt->dst, pkt->dport, pkt->protocol);

	if (frontend || !(how & GH_CALL_NODE))
		return frontend;
	return gh_frontend_find_any(gh_is_ipv6(pkt), pkt->dport, pkt->protocol);
}

/* Decision: may somebody outside call? Returns TC_ACT_OK, CLUSTER_IP or SOURCE_RANGE. */
static __always_inline int gh_service_admits(const struct gh_frontend *frontend, const struct gh_packet *call)
{
	if ((frontend->type == GH_FRONTEND_CLUSTER_IP || frontend->type == GH_FRONTEND_LOCAL_REDIRECT) &&
	    !(frontend->flags & GH_FRONTEND_ROUTABLE))
		return GH_DROP_CLUSTER_IP;
	return gh_source_range_admits(frontend, &call->src) ? TC_ACT_OK : GH_DROP_SOURCE_RANGE;
}

/* Is the client told that nobody answers? Where only this node has no backend (policy Local), others may have one. */
static __always_inline bool gh_service_rejects(const struct gh_frontend *frontend, __u32 how)
{
	if (!(frontend->flags & GH_FRONTEND_REJECT))
		return false;
	return !(how & GH_CALL_EXTERNAL) || !(frontend->flags & GH_FRONTEND_EXTERNAL_LOCAL) ||
	       !frontend->sets[GH_SCOPE_INTERNAL].count;
}

/* A client complains about an answer, to the address that it called. */
GH_GLOBAL int gh_service_error_call(struct __sk_buff *skb, struct gh_packet *pkt)
{
	struct gh_icmp_quote quote = {};
	const struct gh_nat_entry *backend;
	struct gh_nat_entry to;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (gh_icmp_quote(skb, pkt, &quote))
		return TC_ACT_UNSPEC;
	backend = gh_nat_find_quoted(&quote.pkt, GH_NAT_CALL);
	if (!backend)
		return TC_ACT_UNSPEC;
	to = *backend;
	pkt->flags |= GH_PACKET_CALL;
	if (gh_rewrite_quote(skb, pkt, &quote, GH_END_SRC, &to) != TC_ACT_OK)
		return GH_DROP_WRITE_FAILED;
	return gh_rewrite(skb, pkt, GH_END_DST, &to);
}

/* The call goes to its backend, *pkt with it. SCTP's checksum covers the ports and cannot be mended in part. */
GH_GLOBAL int gh_service_send(struct __sk_buff *skb, struct gh_packet *call, const struct gh_service_end *backend)
{
	struct gh_nat_entry to = {};

	if (!call || !backend)
		return GH_DROP_INVALID_PACKET;
	if (call->protocol == IPPROTO_SCTP && call->dport != backend->port)
		return GH_DROP_NAT_UNSUPPORTED;
	to.addr = backend->addr;
	to.port = backend->port;
	call->flags |= GH_PACKET_CALL;
	return gh_rewrite(skb, call, GH_END_DST, &to);
}

/*
 * Decision: does the packet call a service, and which backend shall answer? Translates its destination, *pkt with it.
 * how is of enum gh_call.
 * Returns TC_ACT_OK: translated; TC_ACT_UNSPEC: no service's, untouched; TC_ACT_REDIRECT: answered that nobody is there;
 * or NO_BACKEND, CLUSTER_IP, SOURCE_RANGE, NAT_COLLISION, NAT_UNSUPPORTED, WRITE_FAILED.
 */
GH_GLOBAL int gh_service_call(struct __sk_buff *skb, struct gh_packet *pkt, __u32 how)
{
	const struct gh_frontend *frontend;
	struct gh_service_end to = {};
	int verdict;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (gh_is_readable_error(pkt))
		return gh_service_error_call(skb, pkt);
	if (!gh_service_is_possible(pkt))
		return TC_ACT_UNSPEC;
	frontend = gh_service_find(pkt, how);
	if (likely(!frontend))
		return TC_ACT_UNSPEC;
	if (how & GH_CALL_EXTERNAL) {
		verdict = gh_service_admits(frontend, pkt);
		if (verdict != TC_ACT_OK)
			return verdict;
	}
	verdict = gh_service_recall(pkt, &to);
	if (verdict == TC_ACT_UNSPEC)
		verdict = gh_service_settle(pkt, frontend, how & GH_CALL_EXTERNAL, &to);
	if (verdict == GH_DROP_NO_BACKEND && gh_service_rejects(frontend, how))
		return gh_reject(skb, pkt);
	if (verdict != TC_ACT_OK)
		return verdict;
	return gh_service_send(skb, pkt, &to);
}

/* An ICMP error about a call, to its client: it shows the call as the client sent it. */
GH_GLOBAL int gh_service_error_answer(struct __sk_buff *skb, struct gh_packet *pkt)
{
	struct gh_icmp_quote quote = {};
	const struct gh_nat_entry *frontend;
	struct gh_nat_entry to;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (gh_icmp_quote(skb, pkt, &quote))
		return GH_DROP_INVALID_L4_HEADER;
	frontend = gh_nat_find_quoted(&quote.pkt, GH_NAT_REPLY);
	if (!frontend)
		return TC_ACT_OK;
	to = *frontend;
	if (gh_rewrite_quote(skb, pkt, &quote, GH_END_DST, &to) != TC_ACT_OK)
		return GH_DROP_WRITE_FAILED;
	/* Routers on the way complain under their own names. */
	return gh_address_equal(&pkt->src, &quote.pkt.dst) ? gh_rewrite(skb, pkt, GH_END_SRC, &to) : TC_ACT_OK;
}

/*
 * Decision: an answer (no ICMP error) of a service's connection gets the address that was called as its source, *pkt with it.
 * Returns TC_ACT_OK, NAT_COLLISION: nobody knows what that was, or somebody speaks to a backend directly while its
 * service has a connection of the same ports; or WRITE_FAILED.
 */
GH_GLOBAL int gh_service_answer(struct __sk_buff *skb, struct gh_packet *pkt)
{
	const struct gh_nat_entry *frontend;
	struct gh_nat_entry to;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	frontend = gh_service_find_reply(pkt);
	if (!frontend)
		return GH_DROP_NAT_COLLISION;
	to = *frontend;
	return gh_rewrite(skb, pkt, GH_END_SRC, &to);
}

#endif
