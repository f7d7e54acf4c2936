/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What a policy says of one packet: two exact look-ups, whatever the number of rules. */
#ifndef GLASSHIVE_LIB_POLICY_H
#define GLASSHIVE_LIB_POLICY_H

#include "lib/packet.h"
#include "lib/policy_table.h"

/*
 * The port row that decides, the longest prefix first: what gh_policy_find_port() says of it. 0: none.
 * exact: the key of the port itself. classes: lengths of prefixes to try, one bit each.
 */
static __always_inline __u64 gh_policy_port(__u64 exact, __u32 classes, __u32 mask)
{
	__u64 found;

#pragma clang loop unroll(disable)
	for (int i = 0; i <= GH_POLICY_PORT_BITS && classes; i++) {
		found = gh_policy_find_port(exact, classes, mask);
		if (likely(found >> GH_POLICY_VALUE_ROW))
			return found;
		classes &= ~(1U << (found >> GH_POLICY_VALUE_CLASSES & 0x1f));
	}
	return 0;
}

/* The match of a port row, from that of the peer's row that led to it. */
static __always_inline __u8 gh_policy_port_match(__u8 peer_match, __u32 bits)
{
	if (peer_match == GH_POLICY_MATCH_L3_ONLY)
		return bits ? GH_POLICY_MATCH_L3_L4 : GH_POLICY_MATCH_L3_PROTO;
	return bits ? GH_POLICY_MATCH_L4_ONLY : GH_POLICY_MATCH_PROTO_ONLY;
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
	__u64 value, found;

	if (!judged || !state)
		return GH_POLICY_DENY_DEFAULT;
	judged->rule = 0;
	judged->verdict = GH_POLICY_DENY_DEFAULT;
	/* Verifier: what is remembered there, not in a variable, does not double the ways through the rest. */
	judged->match = GH_POLICY_MATCH_L3_ONLY;
	value = gh_policy_find_peer((__u64)judged->policy << GH_POLICY_KEY_HIGH | judged->peer, state->peer_mask);
	if (!value) {
		judged->match = GH_POLICY_MATCH_ALL;
		value = gh_policy_find_peer((__u64)judged->policy << GH_POLICY_KEY_HIGH, state->peer_mask);
	}
	if (!value) {
		judged->match = GH_POLICY_MATCH_NONE;
		return GH_POLICY_DENY_DEFAULT;
	}
	found = gh_policy_port((value >> GH_POLICY_VALUE_ROW << GH_POLICY_KEY_HIGH) |
				       (__u64)bpf_ntohs(port) << GH_POLICY_KEY_PORT |
				       (__u64)protocol << GH_POLICY_KEY_PROTOCOL,
			       value >> GH_POLICY_VALUE_CLASSES & 0x1ffff, state->port_mask);
	if (found) {
		value = found;
		judged->match = gh_policy_port_match(judged->match, value >> GH_POLICY_VALUE_CLASSES & 0x1f);
	} else if ((value & GH_POLICY_VALUE_VERDICT_MASK) == GH_POLICY_DENY_DEFAULT) {
		judged->match = GH_POLICY_MATCH_NONE;
	}
	judged->verdict = value & GH_POLICY_VALUE_VERDICT_MASK;
	gh_policy_count(judged, value >> GH_POLICY_VALUE_ROW, bytes);
	return judged->verdict;
}

#endif
