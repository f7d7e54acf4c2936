/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What a policy says of one packet: two exact look-ups, whatever the number of rules. */
#ifndef GLASSHIVE_LIB_POLICY_H
#define GLASSHIVE_LIB_POLICY_H

#include "lib/packet.h"
#include "types/policy.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct gh_policy_peer_key);
	__type(value, struct gh_policy_peer);
} policy_peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct gh_policy_port_key);
	__type(value, struct gh_policy_port);
} policy_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gh_node_state);
} node_state SEC(".maps");

/* The node's policy revision. Read it before judging, so that a judgement is never taken for newer than its tables. */
static __always_inline __u32 gh_policy_revision(void)
{
	__u32 zero = 0;
	const struct gh_node_state *state = bpf_map_lookup_elem(&node_state, &zero);

	return state ? *(const volatile __u32 *)&state->policy_revision : 0;
}

static __always_inline void gh_policy_port_decides(struct gh_judgement *judged, const struct gh_policy_port_key *key,
						   struct gh_policy_port *row, __u32 bytes)
{
	judged->verdict = row->verdict;
	judged->rule = row->rule;
	if (key->identity)
		judged->match = key->prefix_bits ? GH_POLICY_MATCH_L3_L4 : GH_POLICY_MATCH_L3_PROTO;
	else
		judged->match = key->prefix_bits ? GH_POLICY_MATCH_L4_ONLY : GH_POLICY_MATCH_PROTO_ONLY;
	__sync_fetch_and_add(&row->packets, 1);
	__sync_fetch_and_add(&row->bytes, bytes);
}

/* Place of the highest bit that is set, 0 to 15; 0 for none. Verifier: without branches, it is in a loop. */
static __always_inline __u32 gh_highest_bit(__u32 word)
{
	__u32 place, shift;

	place = (0xff - word) >> 31 << 3;
	word >>= place;
	shift = (0xf - word) >> 31 << 2;
	word >>= shift;
	place |= shift;
	shift = (0x3 - word) >> 31 << 1;
	word >>= shift;
	return place | shift | word >> 1;
}

/* Port ranges, the longest prefix first. classes as in struct gh_policy_peer. Whether one decides. */
GH_GLOBAL int gh_policy_range(struct gh_judgement *judged, const struct gh_policy_port_key *exact, __u32 classes,
			      __u32 bytes)
{
	struct gh_policy_port *row = NULL;
	struct gh_policy_port_key key;

	if (!judged || !exact)
		return false;
	key = *exact; /* Verifier: see gh_endpoint_find() */
	classes &= 0xfffe;
#pragma clang loop unroll(disable)
	for (int i = 1; i < GH_POLICY_PORT_BITS && classes && !row; i++) {
		const __u32 bits = gh_highest_bit(classes);

		key.prefix_bits = bits;
		key.port = exact->port & bpf_htons(0xffff << (GH_POLICY_PORT_BITS - bits));
		row = bpf_map_lookup_elem(&policy_ports, &key);
		classes &= ~(1U << bits);
	}
	if (!row)
		return false;
	gh_policy_port_decides(judged, &key, row, bytes);
	return true;
}

/* The row for this port or its whole protocol. False: none decides. */
static __always_inline bool gh_policy_port(struct gh_judgement *judged, struct gh_policy_port_key *key, __u32 classes,
					   __u32 bytes)
{
	struct gh_policy_port *row = NULL;

	if (classes >> GH_POLICY_PORT_BITS) {
		key->prefix_bits = GH_POLICY_PORT_BITS;
		row = bpf_map_lookup_elem(&policy_ports, key);
	}
	if (!row) {
		if ((classes & 0xfffe) && gh_policy_range(judged, key, classes, bytes))
			return true;
		if (!(classes & 1))
			return false;
		key->prefix_bits = 0;
		key->port = 0;
		row = bpf_map_lookup_elem(&policy_ports, key);
		if (!row)
			return false;
	}
	gh_policy_port_decides(judged, key, row, bytes);
	return true;
}

/*
 * Decision: what does the policy judged->policy say of a packet of this peer (judged->peer) to this port? Counts the
 * packet at the row that decides. Returns enum gh_policy_verdict, and fills in verdict, rule and match.
 */
GH_GLOBAL int gh_policy_look(struct gh_judgement *judged, __be16 port, __u8 protocol, __u32 bytes)
{
	struct gh_policy_port_key key = { .port = port, .protocol = protocol };
	struct gh_policy_peer_key peer_key;
	struct gh_policy_peer *peer;
	__u32 classes;

	if (!judged)
		return GH_POLICY_DENY_DEFAULT;
	judged->rule = 0;
	judged->match = GH_POLICY_MATCH_NONE;
	judged->verdict = GH_POLICY_DENY_DEFAULT;
	peer_key.policy = judged->policy;
	peer_key.identity = judged->peer;
	peer = bpf_map_lookup_elem(&policy_peers, &peer_key);
	if (!peer) {
		peer_key.identity = 0;
		peer = bpf_map_lookup_elem(&policy_peers, &peer_key);
		if (!peer)
			return GH_POLICY_DENY_DEFAULT;
	}
	classes = peer->classes;
	if (classes) {
		key.policy = peer_key.policy;
		key.identity = peer_key.identity;
		if (gh_policy_port(judged, &key, classes, bytes))
			return judged->verdict;
	}
	judged->verdict = peer->verdict;
	judged->rule = peer->rule;
	if (peer->verdict != GH_POLICY_DENY_DEFAULT)
		judged->match = peer_key.identity ? GH_POLICY_MATCH_L3_ONLY : GH_POLICY_MATCH_ALL;
	__sync_fetch_and_add(&peer->packets, 1);
	__sync_fetch_and_add(&peer->bytes, bytes);
	return judged->verdict;
}

#endif
