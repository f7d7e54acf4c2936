/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Later fragments find the ports of their datagram's first one. */
#ifndef GLASSHIVE_LIB_FRAGMENT_H
#define GLASSHIVE_LIB_FRAGMENT_H

#include "lib/packet.h"
#include "types/fragment.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct gh_fragment_key);
	__type(value, struct gh_fragment);
} fragments SEC(".maps");

static __always_inline void gh_fragment_key(const struct gh_packet *pkt, struct gh_fragment_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->src = pkt->src;
	key->dst = pkt->dst;
	key->id = pkt->fragment_id;
	if (!gh_is_ipv6(pkt))
		key->protocol = pkt->protocol;
}

GH_GLOBAL int gh_fragment_remember(const struct gh_packet *pkt)
{
	struct gh_fragment value = {};
	struct gh_fragment_key key;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	value.sport = pkt->sport;
	value.dport = pkt->dport;
	value.protocol = pkt->protocol;
	value.flags = pkt->flags & GH_PACKET_ECHO;
	value.icmp_type = pkt->icmp_type;
	gh_fragment_key(pkt, &key);
	bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
	return TC_ACT_OK;
}

/* Decision: TC_ACT_OK with protocol and ports filled in, or GH_DROP_FRAGMENT_UNKNOWN. */
GH_GLOBAL int gh_fragment_find(struct gh_packet *pkt)
{
	struct gh_fragment_key key;
	const struct gh_fragment *value;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	gh_fragment_key(pkt, &key);
	value = bpf_map_lookup_elem(&fragments, &key);
	if (!value)
		return GH_DROP_FRAGMENT_UNKNOWN;
	pkt->sport = value->sport;
	pkt->dport = value->dport;
	pkt->protocol = value->protocol;
	pkt->flags |= value->flags;
	pkt->icmp_type = value->icmp_type;
	return TC_ACT_OK;
}

#endif
