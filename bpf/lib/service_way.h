/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Ways of a service's connection that need another source than the client's: from outside to a backend of another node,
 * which must answer through this one, and from a pod to itself, which would not answer to itself.
 */
#ifndef GLASSHIVE_LIB_SERVICE_WAY_H
#define GLASSHIVE_LIB_SERVICE_WAY_H

#include "lib/admit.h"
#include "lib/deliver.h"
#include "lib/service_call.h"

static __always_inline void gh_router_address(union gh_address *addr, bool ipv6)
{
	for (int i = 0; i < 4; i++)
		addr->words[i] = ipv6 ? node_config.router_ipv6.words[i] : node_config.router_ipv4.words[i];
}

/*
 * Give the call a source of this node, with a masquerade port that nobody else has. By the router's address answers
 * come back through the tunnel, by the node's own they come natively.
 * Returns TC_ACT_OK or a drop reason, as gh_masquerade_out() does.
 */
GH_GLOBAL int gh_service_source(struct __sk_buff *skb, struct gh_packet *call, bool router)
{
	struct gh_nat_entry to = {};
	int verdict;

	if (!call)
		return GH_DROP_INVALID_PACKET;
	if (gh_is_readable_error(call))
		return gh_masquerade_error_out(skb, call);
	if (router)
		gh_router_address(&to.addr, gh_is_ipv6(call));
	else
		gh_nat_node_address(&to.addr, gh_is_ipv6(call));
	if (gh_address_is_zero(&to.addr))
		return GH_DROP_NAT_NO_ADDRESS;
	verdict = gh_nat_map_out(call, &to.addr, &to.port);
	return verdict == TC_ACT_OK ? gh_rewrite(skb, call, GH_END_SRC, &to) : verdict;
}

/* The network identifier has 24 bits, and an identity that only this node knows means nothing elsewhere. */
static __always_inline __u32 gh_foreign_identity(const union gh_address *client, bool ipv6)
{
	const __u32 known = gh_remote_identity(gh_ipcache_identity(client), ipv6);

	return known >> 24 ? gh_world_identity(ipv6) : known;
}

/* A call from outside, already translated and admitted, to a backend of another node. See gh_service_pass(). */
GH_GLOBAL int gh_service_forward(struct __sk_buff *skb, struct gh_packet *call)
{
	const struct gh_ipcache_entry *to;
	union gh_address addr;
	__u32 identity;
	bool tunnel;
	int verdict;

	if (!call)
		return GH_DROP_INVALID_PACKET;
	addr = call->src;
	identity = gh_foreign_identity(&addr, gh_is_ipv6(call));
	addr = call->dst;
	to = gh_ipcache_find(&addr);
	tunnel = to && (to->flags & GH_IPCACHE_TUNNEL);
	verdict = gh_service_source(skb, call, tunnel);
	if (verdict == TC_ACT_OK)
		verdict = gh_decrement_ttl(skb, call);
	if (verdict != TC_ACT_OK)
		return verdict;
	return tunnel ? gh_send_tunnel(skb, to, identity) : gh_send_native(skb, to);
}

/* An answer for a service's client elsewhere, already translated in both ends. See gh_service_pass(). */
GH_GLOBAL int gh_service_back(struct __sk_buff *skb, struct gh_packet *pkt)
{
	union gh_address addr;
	int verdict;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	verdict = gh_decrement_ttl(skb, pkt);
	if (verdict != TC_ACT_OK)
		return verdict;
	addr = pkt->dst;
	return gh_send_native(skb, gh_ipcache_find(&addr));
}

/*
 * A packet between a service's client and its backend, of whom neither lives here. Conntrack knows it by their two
 * addresses; a source of this node comes last. The caller has seen that ttl is above 1.
 * Returns TC_ACT_REDIRECT or a drop reason; NO_ENDPOINT: it belongs to no service's connection.
 */
static __always_inline int gh_service_pass(struct __sk_buff *skb, struct gh_packet *pkt)
{
	if (pkt->flags & GH_PACKET_CALL)
		return gh_service_forward(skb, pkt);
	return pkt->flags & GH_PACKET_ANSWER ? gh_service_back(skb, pkt) : GH_DROP_NO_ENDPOINT;
}

/* After gh_admit(): an answer of a service's connection becomes what its client expects. TC_ACT_OK, or a drop reason. */
static __always_inline int gh_service_restore(struct __sk_buff *skb, struct gh_packet *pkt)
{
	if (likely(!(pkt->flags & GH_PACKET_ANSWER)))
		return TC_ACT_OK;
	/* Verifier: the two are not one function, for the stack would be too deep. */
	return gh_is_readable_error(pkt) ? gh_service_error_answer(skb, pkt) : gh_service_answer(skb, pkt);
}

#endif
