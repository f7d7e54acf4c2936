/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which policies a packet is asked about, and what is done with their answers. */
#ifndef GLASSHIVE_LIB_JUDGE_H
#define GLASSHIVE_LIB_JUDGE_H

#include "lib/address.h"
#include "lib/conntrack.h"
#include "lib/icmp.h"
#include "lib/party.h"
#include "lib/policy.h"
#include "lib/record.h"

enum gh_ask {
	GH_ASK_ANSWER = 1, /* the packet answers: what is judged is its connection, the other way round */
	GH_ASK_EGRESS = 2, /* the policy of the connection's opener, else that of its other end */
	GH_ASK_TELL_ALLOWED = 4, /* leave a record if it is allowed */
	GH_ASK_TELL_REFUSED = 8,
	GH_ASK_TELL_AUDITED = 16,
	GH_ASK_TELL = GH_ASK_TELL_ALLOWED | GH_ASK_TELL_REFUSED | GH_ASK_TELL_AUDITED,
};

/* The port that decides: where the connection goes; for ICMP the type of message that opens it. */
static __always_inline __be16 gh_ask_port(const struct gh_packet *pkt, bool answer)
{
	int type = pkt->icmp_type;

	if (pkt->protocol != IPPROTO_ICMP && pkt->protocol != IPPROTO_ICMPV6)
		return answer ? pkt->sport : pkt->dport;
	if (answer)
		type = gh_icmp_question(gh_is_ipv6(pkt), type);
	return bpf_htons(type);
}

static __always_inline void gh_ask_tell(struct __sk_buff *skb, const struct gh_packet *pkt, __u32 how, __u32 reason)
{
	if (how && (node_config.flags & GH_NODE_VERDICT_RECORDS))
		gh_leave_record(skb, pkt, GH_RECORD_VERDICT, reason, gh_judged_direction(&pkt->judged));
}

/*
 * Decision: does one endpoint's policy let the packet pass? how is of enum gh_ask.
 * Returns TC_ACT_OK, POLICY or POLICY_DENY; the judgement is in pkt->judged.
 */
GH_GLOBAL int gh_ask(struct __sk_buff *skb, struct gh_packet *pkt, const struct gh_parties *parties, __u32 how)
{
	const struct gh_party *subject, *peer;
	const union gh_address *addr;
	int verdict, reason;

	if (!pkt || !parties)
		return GH_DROP_INVALID_PACKET;
	/* The opener is the sender, or, of an answer, the receiver. */
	if (!(how & GH_ASK_EGRESS) == !(how & GH_ASK_ANSWER)) {
		subject = &parties->dst;
		peer = &parties->src;
		addr = &pkt->src;
	} else {
		subject = &parties->src;
		peer = &parties->dst;
		addr = &pkt->dst;
	}
	pkt->judged.policy = subject->policy << 1 | (how & GH_ASK_EGRESS ? GH_POLICY_EGRESS : 0);
	pkt->judged.endpoint = subject->endpoint;
	pkt->judged.flags = how & GH_ASK_ANSWER ? GH_RECORD_REPLY : 0;
	pkt->judged.peer = peer->identity;
	if (!pkt->judged.peer)
		pkt->judged.peer = gh_remote_identity(gh_ipcache_identity(addr), gh_is_ipv6(pkt));
	verdict = gh_policy_look(&pkt->judged, gh_ask_port(pkt, how & GH_ASK_ANSWER), pkt->protocol, skb->len);
	if (likely(verdict == GH_POLICY_ALLOW)) {
		gh_ask_tell(skb, pkt, how & GH_ASK_TELL_ALLOWED, 0);
		return TC_ACT_OK;
	}
	reason = verdict == GH_POLICY_DENY_RULE ? GH_DROP_POLICY_DENY : GH_DROP_POLICY;
	if (subject->flags & GH_ENDPOINT_AUDIT) {
		pkt->judged.flags |= GH_RECORD_AUDITED;
		gh_ask_tell(skb, pkt, how & GH_ASK_TELL_AUDITED, reason);
		return TC_ACT_OK;
	}
	gh_ask_tell(skb, pkt, how & GH_ASK_TELL_REFUSED, reason);
	return reason;
}

/* Is anybody's policy to be asked about a packet from the one to the other? */
static __always_inline bool gh_is_enforced(const struct gh_party *from, const struct gh_party *to)
{
	return (from->flags & GH_ENDPOINT_EGRESS_ENFORCED) || (to->flags & GH_ENDPOINT_INGRESS_ENFORCED);
}

/* Neighbour discovery between the node and its pods or its link: hop limit 255 means that it comes from right there. */
static __always_inline bool gh_is_neighbourly(const struct gh_packet *pkt, __u32 flags)
{
	return (flags & GH_ENDPOINT_HOST) && pkt->protocol == IPPROTO_ICMPV6 &&
	       pkt->icmp_type >= GH_ICMPV6_ROUTER_SOLICITATION && pkt->icmp_type <= GH_ICMPV6_REDIRECT &&
	       pkt->ttl == 255;
}

/* Both ends' policies, the opener's first. how: GH_ASK_ANSWER and what to tell. */
static __always_inline int gh_ask_both(struct __sk_buff *skb, struct gh_packet *pkt, const struct gh_parties *parties,
				       __u32 how)
{
	const __u32 from = how & GH_ASK_ANSWER ? parties->dst.flags : parties->src.flags;
	const __u32 to = how & GH_ASK_ANSWER ? parties->src.flags : parties->dst.flags;
	const bool localhost =
		(node_config.flags & GH_NODE_ALLOW_LOCALHOST) && (from & GH_ENDPOINT_HOST) && !(to & GH_ENDPOINT_HOST);
	int verdict = TC_ACT_OK;

	/* Nobody is kept from himself. */
	if (unlikely(gh_is_neighbourly(pkt, from | to) || gh_address_equal(&pkt->src, &pkt->dst)))
		return TC_ACT_OK;
	if (from & GH_ENDPOINT_EGRESS_ENFORCED)
		verdict = gh_ask(skb, pkt, parties, how | GH_ASK_EGRESS);
	if (verdict == TC_ACT_OK && (to & GH_ENDPOINT_INGRESS_ENFORCED) && !localhost)
		verdict = gh_ask(skb, pkt, parties, how);
	return verdict;
}

/*
 * Decision: does policy let the packet pass? entry is the connection that the packet belongs to, NULL when it begins one
 * or stands alone; the outcome is remembered there.
 * Returns TC_ACT_OK, POLICY or POLICY_DENY.
 */
GH_GLOBAL int gh_judge(struct __sk_buff *skb, struct gh_packet *pkt, struct gh_ct_entry *entry,
		       struct gh_parties *parties, bool answer)
{
	__u32 revision = gh_policy_revision(), how = GH_ASK_TELL;
	int verdict;

	if (!pkt || !parties)
		return GH_DROP_INVALID_PACKET;
	if (entry) {
		/* Of an opener elsewhere the tunnel may have told more than ipcache knows yet. */
		if (answer && !parties->dst.flags && gh_is_world(parties->dst.identity))
			parties->dst.identity = entry->identity;
		how = entry->policy_revision == GH_POLICY_REVISION_CUT ? GH_ASK_TELL_ALLOWED : GH_ASK_TELL_REFUSED;
		if (entry->policy_revision != revision)
			how |= GH_ASK_TELL_AUDITED;
	}
	verdict = gh_ask_both(skb, pkt, parties, how | (answer ? GH_ASK_ANSWER : 0));
	if (verdict != TC_ACT_OK)
		revision = GH_POLICY_REVISION_CUT;
	if (entry && entry->policy_revision != revision)
		entry->policy_revision = revision;
	return verdict;
}

#endif
