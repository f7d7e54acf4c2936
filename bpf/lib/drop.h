/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Every drop has a reason, is counted, and leaves a record where there is room for one. */
#ifndef GLASSHIVE_LIB_DROP_H
#define GLASSHIVE_LIB_DROP_H

#include "lib/packet.h"
#include "lib/record.h"
#include "types/drop.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 256);
	__type(key, struct gh_drop_key);
	__type(value, struct gh_drop_count);
} drops SEC(".maps");

static __always_inline void gh_drop_count(struct __sk_buff *skb, enum gh_drop_reason reason,
					  enum gh_direction direction)
{
	struct gh_drop_key key = { .reason = reason, .direction = direction };
	struct gh_drop_count *count = bpf_map_lookup_elem(&drops, &key);

	if (!count) {
		struct gh_drop_count zero = {};

		/* NOEXIST: a racing CPU's first count is not to be overwritten. */
		bpf_map_update_elem(&drops, &key, &zero, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&drops, &key);
		if (!count)
			return;
	}
	count->packets++;
	count->bytes += skb->len;
}

static __always_inline bool gh_is_refusal(enum gh_drop_reason reason)
{
	return reason == GH_DROP_POLICY || reason == GH_DROP_POLICY_DENY;
}

GH_GLOBAL int gh_drop(struct __sk_buff *skb, const struct gh_packet *pkt, enum gh_drop_reason reason,
		      enum gh_direction direction)
{
	if (!pkt)
		return TC_ACT_SHOT;
	/* On its way a packet may meet the policies of two endpoints: the one that refused says which direction it was. */
	if (gh_is_refusal(reason))
		direction = gh_judged_direction(&pkt->judged);
	gh_drop_count(skb, reason, direction);
	gh_leave_record(skb, pkt, GH_RECORD_DROP, reason, direction);
	return TC_ACT_SHOT;
}

/* The end of every walk. Returns the TC action; drops are counted on the way. */
static __always_inline int gh_finish(struct __sk_buff *skb, const struct gh_packet *pkt, int verdict,
				     enum gh_direction direction)
{
	if (unlikely(gh_is_drop(verdict)))
		return gh_drop(skb, pkt, verdict, direction);
	return verdict;
}

#endif
