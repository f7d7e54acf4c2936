/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The life of a tracked connection: what a packet makes of its entry. Pure but for the clock; the map is elsewhere. */
#ifndef GLASSHIVE_LIB_CT_STATE_H
#define GLASSHIVE_LIB_CT_STATE_H

#include <linux/in6.h>
#include "lib/packet.h"
#include "types/conntrack.h"
#include "types/policy.h"

#define GH_TCP_FIN 1
#define GH_TCP_SYN 2
#define GH_TCP_RST 4
#define GH_TCP_ACK 16

enum gh_ct_verdict {
	GH_CT_NEW = 0,
	GH_CT_FORWARD = 1, /* known, in the opener's direction */
	GH_CT_REPLY = 2, /* known, towards the opener */
	GH_CT_RELATED = 3, /* ICMP error about a known connection */
};

/* A clock for "has about a second passed?". The JIT reads jiffies in place; reading the coarse clock costs 14 ns. */
static __always_inline __u32 gh_ct_tick(void)
{
	return bpf_jiffies64() >> 8;
}

static __always_inline enum gh_ct_timeout gh_ct_timeout_s(__u8 protocol, enum gh_ct_state state)
{
	switch (protocol) {
	case IPPROTO_TCP:
		if (state == GH_CT_ESTABLISHED)
			return GH_CT_TIMEOUT_TCP_ESTABLISHED_S;
		return state == GH_CT_OPENING ? GH_CT_TIMEOUT_TCP_OPENING_S : GH_CT_TIMEOUT_TCP_CLOSING_S;
	case IPPROTO_UDP:
		return state == GH_CT_ESTABLISHED ? GH_CT_TIMEOUT_UDP_ESTABLISHED_S : GH_CT_TIMEOUT_UDP_S;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return GH_CT_TIMEOUT_ICMP_S;
	default:
		return GH_CT_TIMEOUT_OTHER_S;
	}
}

/* A fresh entry for the connection that this packet opens. */
static __always_inline void gh_ct_fresh(struct gh_ct_entry *entry, const struct gh_packet *pkt, bool from_high,
					__u32 identity, __u64 now_ns)
{
	entry->seen_ns = now_ns;
	entry->created_ns = now_ns;
	entry->identity = identity;
	entry->flags = from_high ? GH_CT_FROM_HIGH : 0;
	entry->state = GH_CT_OPENING;
	entry->tick = gh_ct_tick();
	entry->pad = 0;
	if (unlikely(pkt->flags & GH_PACKET_CALL))
		entry->flags |= GH_CT_SERVICE;
	if (pkt->tcp_flags & GH_TCP_SYN)
		entry->flags |= GH_CT_SYN;
	if (pkt->tcp_flags & GH_TCP_FIN)
		entry->flags |= GH_CT_FIN_FORWARD;
	if (pkt->tcp_flags & GH_TCP_RST) {
		entry->flags |= GH_CT_RST;
		entry->state = GH_CT_CLOSING;
	}
}

/* A SYN alone opens; whoever sends it, it answers nothing. */
static __always_inline bool gh_ct_is_opening(const struct gh_packet *pkt)
{
	return (pkt->tcp_flags & (GH_TCP_SYN | GH_TCP_ACK)) == GH_TCP_SYN;
}

static __always_inline bool gh_ct_is_towards_opener(const struct gh_ct_entry *entry, bool from_high)
{
	return !(entry->flags & GH_CT_FROM_HIGH) == from_high;
}

/*
 * A service's connection says so to its answers, that they may not pass as they are. A call that finds the entry without
 * that mark had lost it: the entry was evicted, and an answer has made it anew.
 */
static __always_inline void gh_ct_tell_service(struct gh_ct_entry *entry, struct gh_packet *pkt)
{
	if (unlikely(entry->flags & GH_CT_SERVICE)) {
		if (!(pkt->flags & GH_PACKET_CALL))
			pkt->flags |= GH_PACKET_ANSWER;
	} else if (unlikely(pkt->flags & GH_PACKET_CALL)) {
		entry->flags |= GH_CT_SERVICE;
	}
}

/*
 * Decision: is the packet part of the connection that the entry is about, or has that ended, by its own account, by
 * policy or by the clock, so that the packet opens another one? Writes nothing. Returns GH_CT_NEW, _FORWARD or _REPLY.
 */
GH_GLOBAL int gh_ct_classify(const struct gh_ct_entry *entry, const struct gh_packet *pkt, bool from_high)
{
	if (!entry || !pkt)
		return GH_CT_NEW;
	if (gh_ct_is_opening(pkt) &&
	    (entry->state == GH_CT_CLOSING || entry->policy_revision == GH_POLICY_REVISION_CUT))
		return GH_CT_NEW;
	/* Seen within this tick: no timeout is as short as one, and the clock need not be read. */
	if (entry->tick != gh_ct_tick() &&
	    bpf_ktime_get_coarse_ns() > entry->seen_ns + gh_ct_timeout_s(pkt->protocol, entry->state) * GH_SECOND_NS)
		return GH_CT_NEW;
	return gh_ct_is_towards_opener(entry, from_high) ? GH_CT_REPLY : GH_CT_FORWARD;
}

/*
 * Begin the connection anew in the place of one that is over. For a moment the entry says that no policy has allowed
 * it: whoever looks then will ask policy.
 */
GH_GLOBAL int gh_ct_renew(struct gh_ct_entry *entry, const struct gh_packet *pkt, bool from_high, __u32 identity,
			  __u32 revision)
{
	if (!entry || !pkt)
		return GH_DROP_INVALID_PACKET;
	entry->policy_revision = GH_POLICY_REVISION_CUT;
	gh_ct_fresh(entry, pkt, from_high, identity, bpf_ktime_get_coarse_ns());
	entry->policy_revision = revision;
	return GH_CT_NEW;
}

/* The state that follows from this packet. Concurrent packets may each write: every outcome is one they could cause. */
GH_GLOBAL int gh_ct_advance(struct gh_ct_entry *entry, const struct gh_packet *pkt, bool from_high)
{
	__u64 now_ns = bpf_ktime_get_coarse_ns();
	__u16 flags;
	bool reply;
	__u8 state;

	if (!entry || !pkt)
		return GH_DROP_INVALID_PACKET;
	reply = gh_ct_is_towards_opener(entry, from_high);
	flags = entry->flags;
	state = entry->state;
	if (reply)
		flags |= GH_CT_REPLIED;
	if (pkt->tcp_flags & GH_TCP_FIN)
		flags |= reply ? GH_CT_FIN_REPLY : GH_CT_FIN_FORWARD;
	if (pkt->tcp_flags & GH_TCP_RST)
		flags |= GH_CT_RST;
	if (state == GH_CT_OPENING && (flags & GH_CT_REPLIED))
		state = GH_CT_ESTABLISHED;
	if ((flags & GH_CT_RST) ||
	    (flags & (GH_CT_FIN_FORWARD | GH_CT_FIN_REPLY)) == (GH_CT_FIN_FORWARD | GH_CT_FIN_REPLY))
		state = GH_CT_CLOSING;
	if (entry->flags != flags)
		entry->flags = flags;
	if (entry->state != state)
		entry->state = state;
	entry->seen_ns = now_ns;
	entry->tick = gh_ct_tick();
	return reply ? GH_CT_REPLY : GH_CT_FORWARD;
}

#endif
