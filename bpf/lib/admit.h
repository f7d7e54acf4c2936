/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * May this packet go on? Connection tracking and policy together: the connection is looked up, policy is asked, and only
 * what it lets pass leaves a trace in the table of connections.
 *
 * Packets of a connection's opener are judged one by one. Answers pass by the revision in the connection's entry: it is
 * the node's policy revision from before a judgement that allowed the connection, so an entry with the current one needs
 * no judgement, and one with another is judged once, as its opener's packets are. User space changes tables first and
 * moves the revision afterwards. Whoever has judged by the old tables therefore stores an older revision, and whoever
 * stores late does no harm: the next answer sees a difference and asks. A refusal stores GH_POLICY_REVISION_CUT, which no
 * revision equals: answers of a cut connection are judged (and refused) each time, until policy allows it again, and
 * a SYN starts over. It is one 32-bit store in each case, so no two processors can leave a mixture.
 */
#ifndef GLASSHIVE_LIB_ADMIT_H
#define GLASSHIVE_LIB_ADMIT_H

#include "lib/icmp_error.h"
#include "lib/judge.h"

/* The same for the connection of the packet that an ICMP error quotes; its ends need not be those of the error. */
static __always_inline int gh_judge_quoted(struct __sk_buff *skb, struct gh_packet *pkt, struct gh_packet *quoted,
					   struct gh_ct_entry *entry, bool answer)
{
	struct gh_parties ends = {};
	int verdict;

	gh_party_find(&ends.src, &quoted->src);
	gh_party_find(&ends.dst, &quoted->dst);
	verdict = gh_judge(skb, quoted, entry, &ends, answer);
	pkt->judged = quoted->judged;
	return verdict == TC_ACT_OK ? GH_CT_RELATED : verdict;
}

/*
 * An ICMP error belongs to the connection whose packet it quotes, and passes if that one may. It does not prolong the
 * connection's life. Returns GH_CT_RELATED, ICMP_UNRELATED, INVALID_L4_HEADER, POLICY or POLICY_DENY.
 */
GH_GLOBAL int gh_admit_related(struct __sk_buff *skb, struct gh_packet *pkt)
{
	struct gh_icmp_quote quote = {};
	struct gh_ct_entry *entry;
	bool from_high;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	if (gh_icmp_quote(skb, pkt, &quote))
		return GH_DROP_INVALID_L4_HEADER;
	entry = gh_ct_find(&quote.pkt, &from_high);
	if (!entry)
		return GH_DROP_ICMP_UNRELATED;
	if ((entry->flags & GH_CT_SERVICE) && !(pkt->flags & GH_PACKET_CALL))
		pkt->flags |= GH_PACKET_ANSWER;
	if (likely(entry->policy_revision == gh_policy_revision()))
		return GH_CT_RELATED;
	return gh_judge_quoted(skb, pkt, &quote.pkt, entry, gh_ct_is_towards_opener(entry, from_high));
}

/* Can the packet be an answer? A SYN opens, and of ICMP only some types answer others: the rest is judged by itself. */
static __always_inline bool gh_may_answer(const struct gh_packet *pkt)
{
	if (pkt->protocol == IPPROTO_ICMP || pkt->protocol == IPPROTO_ICMPV6)
		return gh_icmp_question(gh_is_ipv6(pkt), pkt->icmp_type) >= 0;
	return !gh_ct_is_opening(pkt);
}

/* A packet of a connection of its own. See gh_admit(). */
GH_GLOBAL int gh_admit_tracked(struct __sk_buff *skb, struct gh_packet *pkt, struct gh_parties *parties)
{
	int connection = GH_CT_NEW, verdict = TC_ACT_OK;
	bool from_high, settled = false;
	struct gh_ct_entry *entry;
	struct gh_ct_key key;
	__u32 revision;

	if (!pkt || !parties)
		return GH_DROP_INVALID_PACKET;
	from_high = gh_ct_key(&key, pkt);
	entry = bpf_map_lookup_elem(&conntrack, &key);
	if (likely(entry)) {
		settled = gh_ct_is_settled(entry, pkt);
		if (likely(settled))
			connection = gh_ct_is_towards_opener(entry, from_high) ? GH_CT_REPLY : GH_CT_FORWARD;
		else
			connection = gh_ct_classify(entry, pkt, from_high);
	}
	revision = gh_policy_revision();
	if (connection == GH_CT_REPLY && likely(gh_may_answer(pkt))) {
		if (unlikely(entry && entry->policy_revision != revision))
			verdict = gh_judge(skb, pkt, entry, parties, true);
	} else if (gh_is_enforced(&parties->src, &parties->dst)) {
		verdict = gh_judge(skb, pkt, connection == GH_CT_FORWARD ? entry : NULL, parties, false);
	}
	if (unlikely(verdict != TC_ACT_OK)) {
		/* Its opener was refused a new one in its place: nothing passes as an answer any more. */
		if (entry && connection == GH_CT_NEW && !gh_ct_is_towards_opener(entry, from_high))
			entry->policy_revision = GH_POLICY_REVISION_CUT;
		return verdict;
	}
	if (unlikely(!entry))
		return gh_ct_create(&key, pkt, from_high, parties->src.identity, revision);
	if (unlikely(connection == GH_CT_NEW))
		return gh_ct_renew(entry, pkt, from_high, parties->src.identity, revision);
	gh_ct_tell_service(entry, pkt);
	if (likely(settled))
		return connection;
	return gh_ct_advance(entry, pkt, from_high);
}

/*
 * Decision: may the packet go on, and which connection is it part of? Creates the connection's entry if it opens one.
 * Returns enum gh_ct_verdict, or a drop reason: POLICY, POLICY_DENY, CT_CREATE, ICMP_UNRELATED, INVALID_L4_HEADER.
 */
static __always_inline int gh_admit(struct __sk_buff *skb, struct gh_packet *pkt, struct gh_parties *parties)
{
	if (unlikely(pkt->flags & GH_PACKET_ICMP_ERROR) && gh_has_l4(pkt))
		return gh_admit_related(skb, pkt);
	return gh_admit_tracked(skb, pkt, parties);
}

#endif
