/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What a policy says of one packet: two exact look-ups, whatever the number of rules. */
#ifndef GLASSHIVE_LIB_POLICY_H
#define GLASSHIVE_LIB_POLICY_H

#include "lib/packet.h"
#include "lib/policy_table.h"

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

/*
 * The port row that decides, the longest prefix first: its value, with the length of its prefix in the place of the
 * classes. 0: none. exact: the key of the port itself.
 */
static __always_inline __u64 gh_policy_port(__u64 exact, __u32 classes, __u32 mask)
{
	__u64 value;

	if (classes >> GH_POLICY_PORT_BITS) {
		value = gh_policy_find_port(exact | GH_POLICY_PORT_BITS, mask);
		if (value)
			return value | GH_POLICY_PORT_BITS << GH_POLICY_VALUE_CLASSES;
	}
	classes &= 0xffff;
#pragma clang loop unroll(disable)
	for (int i = 0; i < GH_POLICY_PORT_BITS && classes; i++) {
		const __u32 bits = gh_highest_bit(classes);

		classes &= ~(1U << bits);
		value = gh_policy_find_port((exact & ~(0xffffULL >> bits << GH_POLICY_KEY_PORT)) | bits, mask);
		if (value)
			return value | bits << GH_POLICY_VALUE_CLASSES;
	}
	return 0;
}

static __always_inline __u8 gh_policy_match(bool named, bool port, __u32 bits)
{
	if (port && bits)
		return named ? GH_POLICY_MATCH_L3_L4 : GH_POLICY_MATCH_L4_ONLY;
	if (port)
		return named ? GH_POLICY_MATCH_L3_PROTO : GH_POLICY_MATCH_PROTO_ONLY;
	return named ? GH_POLICY_MATCH_L3_ONLY : GH_POLICY_MATCH_ALL;
}

/* The row says which rule it was, and counts. */
static __always_inline void gh_policy_count(struct gh_judgement *judged, __u32 number, __u32 bytes)
{
	struct gh_policy_row *row = bpf_map_lookup_elem(&policy_rows, &number);

	if (!row)
		return;
	judged->rule = row->rule;
	__sync_fetch_and_add(&row->packets, 1);
	__sync_fetch_and_add(&row->bytes, bytes);
}

/*
 * Decision: what does the policy judged->policy say of a packet of this peer (judged->peer) to this port? Counts the
 * packet at the row that decides. Returns enum gh_policy_verdict, and fills in verdict, rule and match.
 */
GH_GLOBAL int gh_policy_look(struct gh_judgement *judged, __be16 port, __u8 protocol, __u32 bytes)
{
	const struct gh_node_state *state = gh_node_state();
	bool named = true, by_port = false;
	__u64 value, found;

	if (!judged || !state)
		return GH_POLICY_DENY_DEFAULT;
	judged->rule = 0;
	judged->match = GH_POLICY_MATCH_NONE;
	judged->verdict = GH_POLICY_DENY_DEFAULT;
	value = gh_policy_find_peer((__u64)judged->policy << GH_POLICY_KEY_HIGH | judged->peer, state->peer_mask);
	if (!value) {
		named = false;
		value = gh_policy_find_peer((__u64)judged->policy << GH_POLICY_KEY_HIGH, state->peer_mask);
		if (!value)
			return GH_POLICY_DENY_DEFAULT;
	}
	if (value >> GH_POLICY_VALUE_CLASSES & 0x1ffff) {
		found = gh_policy_port((value >> GH_POLICY_VALUE_ROW << GH_POLICY_KEY_HIGH) |
					       (__u64)bpf_ntohs(port) << GH_POLICY_KEY_PORT |
					       (__u64)protocol << GH_POLICY_KEY_PROTOCOL,
				       value >> GH_POLICY_VALUE_CLASSES & 0x1ffff, state->port_mask);
		if (found) {
			by_port = true;
			value = found;
		}
	}
	judged->verdict = value & GH_POLICY_VALUE_VERDICT_MASK;
	if (by_port || judged->verdict != GH_POLICY_DENY_DEFAULT)
		judged->match = gh_policy_match(named, by_port, value >> GH_POLICY_VALUE_CLASSES & 0x1f);
	gh_policy_count(judged, value >> GH_POLICY_VALUE_ROW, bytes);
	return judged->verdict;
}

#endif
