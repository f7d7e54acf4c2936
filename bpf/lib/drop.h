/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Every drop has a reason, is counted, and leaves a record where there is room for one. */
#ifndef GLASSHIVE_LIB_DROP_H
#define GLASSHIVE_LIB_DROP_H

#include "lib/ipcache.h"
#include "lib/packet.h"
#include "types/drop.h"
#include "types/record.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 256);
	__type(key, struct gh_drop_key);
	__type(value, struct gh_drop_count);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* Records that found the ring full. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} events_lost SEC(".maps");

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

static __always_inline void gh_drop_record(struct __sk_buff *skb, const struct gh_packet *pkt,
					   enum gh_drop_reason reason, enum gh_direction direction)
{
	struct gh_record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record) {
		__u32 zero = 0;
		__u64 *lost = bpf_map_lookup_elem(&events_lost, &zero);

		if (lost)
			(*lost)++;
		return;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->time_ns = bpf_ktime_get_ns();
	record->src = pkt->src;
	record->dst = pkt->dst;
	record->sport = pkt->sport;
	record->dport = pkt->dport;
	record->src_identity = gh_ipcache_identity(&pkt->src);
	record->dst_identity = gh_ipcache_identity(&pkt->dst);
	record->ifindex = skb->ifindex;
	record->bytes = skb->len;
	record->ether_type = bpf_ntohs(skb->protocol);
	record->type = GH_RECORD_DROP;
	record->reason = reason;
	record->direction = direction;
	record->protocol = pkt->protocol;
	record->tcp_flags = pkt->tcp_flags;
	record->icmp_type = pkt->icmp_type;
	record->icmp_code = pkt->icmp_code;
	/* No wake-up: readers look at a steady pace, so a flood of drops costs the sender no scheduling. */
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
}

GH_GLOBAL int gh_drop(struct __sk_buff *skb, const struct gh_packet *pkt, enum gh_drop_reason reason,
		      enum gh_direction direction)
{
	if (!pkt)
		return TC_ACT_SHOT;
	gh_drop_count(skb, reason, direction);
	gh_drop_record(skb, pkt, reason, direction);
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
