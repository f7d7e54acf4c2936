/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Connection tracking: one entry per connection, one look-up per packet, no store on an established connection. What a
 * packet may do to its connection is decided in lib/admit.h.
 */
#ifndef GLASSHIVE_LIB_CONNTRACK_H
#define GLASSHIVE_LIB_CONNTRACK_H

#include "lib/ct_state.h"
#include "lib/packet.h"
#include "types/conntrack.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct gh_ct_key);
	__type(value, struct gh_ct_entry);
} conntrack SEC(".maps");

/* Is the first end the high one? Any total order will do: words are compared as loaded. */
static __always_inline bool gh_ct_is_high(const union gh_address *a, __be16 a_port, const union gh_address *b,
					  __be16 b_port)
{
	if (a->quads[1] != b->quads[1])
		return a->quads[1] > b->quads[1];
	if (a->quads[0] != b->quads[0])
		return a->quads[0] > b->quads[0];
	return a_port > b_port;
}

/* The sorted key of the packet as if it went to this end. Returns whether its sender is the high end. */
static __always_inline bool gh_ct_key_to(struct gh_ct_key *key, const struct gh_packet *pkt,
					 const union gh_address *dst, __be16 dport)
{
	const bool from_high = gh_ct_is_high(&pkt->src, pkt->sport, dst, dport);

	if (from_high) {
		key->low = *dst;
		key->high = pkt->src;
		key->low_port = dport;
		key->high_port = pkt->sport;
	} else {
		key->low = pkt->src;
		key->high = *dst;
		key->low_port = pkt->sport;
		key->high_port = dport;
	}
	key->protocol = pkt->protocol;
	key->pad[0] = key->pad[1] = key->pad[2] = 0;
	return from_high;
}

/* Fills in the sorted key. Returns whether the packet's sender is the high end. */
static __always_inline bool gh_ct_key(struct gh_ct_key *key, const struct gh_packet *pkt)
{
	return gh_ct_key_to(key, pkt, &pkt->dst, pkt->dport);
}

GH_GLOBAL int gh_ct_create(const struct gh_ct_key *sorted, const struct gh_packet *pkt, bool from_high, __u32 identity,
			   __u32 revision)
{
	struct gh_ct_entry entry;
	struct gh_ct_key key;

	if (!sorted || !pkt)
		return GH_DROP_INVALID_PACKET;
	key = *sorted; /* Verifier: see gh_endpoint_find() */
	gh_ct_fresh(&entry, pkt, from_high, identity, bpf_ktime_get_coarse_ns());
	entry.policy_revision = revision;
	if (bpf_map_update_elem(&conntrack, &key, &entry, BPF_ANY))
		return GH_DROP_CT_CREATE;
	return GH_CT_NEW;
}

/* An established connection in mid-stream, seen before within this tick: nothing about it needs to be written. */
static __always_inline bool gh_ct_is_settled(const struct gh_ct_entry *entry, const struct gh_packet *pkt)
{
	return likely(!(pkt->tcp_flags & (GH_TCP_SYN | GH_TCP_FIN | GH_TCP_RST)) && entry->state == GH_CT_ESTABLISHED &&
		      entry->tick == gh_ct_tick());
}

/* The connection that the packet is part of, or NULL. *from_high: whether its sender is the high end. */
static __always_inline struct gh_ct_entry *gh_ct_find(const struct gh_packet *pkt, bool *from_high)
{
	struct gh_ct_key key;

	*from_high = gh_ct_key(&key, pkt);
	return bpf_map_lookup_elem(&conntrack, &key);
}

/* Does the packet answer a connection that its destination opened? Looks only. */
static __always_inline bool gh_ct_is_reply(const struct gh_packet *pkt)
{
	bool from_high;
	const struct gh_ct_entry *entry = gh_ct_find(pkt, &from_high);

	return entry && gh_ct_is_towards_opener(entry, from_high);
}

#endif
