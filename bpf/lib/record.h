/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What user space is told about a packet. */
#ifndef GLASSHIVE_LIB_RECORD_H
#define GLASSHIVE_LIB_RECORD_H

#include "lib/ipcache.h"
#include "lib/packet.h"
#include "types/policy.h"
#include "types/record.h"

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

static __always_inline enum gh_direction gh_judged_direction(const struct gh_judgement *judged)
{
	return judged->policy & GH_POLICY_EGRESS ? GH_EGRESS : GH_INGRESS;
}

static __always_inline void gh_record_judgement(struct gh_record *record, const struct gh_judgement *judged)
{
	record->verdict = judged->verdict;
	record->match = judged->match;
	record->flags = judged->flags;
	record->policy = judged->policy;
	record->peer = judged->peer;
	record->rule = judged->rule;
	record->endpoint = judged->endpoint;
}

static __always_inline void gh_record_identities(struct gh_record *record, const struct gh_packet *pkt)
{
	struct gh_ipcache_key key = { .prefixlen = 128, .addr = pkt->src };
	const struct gh_ipcache_entry *entry = bpf_map_lookup_elem(&ipcache, &key);

	record->src_identity = entry ? entry->identity : GH_IDENTITY_UNKNOWN;
	key.addr = pkt->dst;
	entry = bpf_map_lookup_elem(&ipcache, &key);
	record->dst_identity = entry ? entry->identity : GH_IDENTITY_UNKNOWN;
}

/* Leaves a record of the packet where there is room for one. reason is an enum gh_drop_reason. */
GH_GLOBAL int gh_leave_record(struct __sk_buff *skb, const struct gh_packet *pkt, enum gh_record_type type,
			      __u32 reason, enum gh_direction direction)
{
	struct gh_record *record;

	if (!pkt)
		return 0;
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record) {
		__u32 zero = 0;
		__u64 *lost = bpf_map_lookup_elem(&events_lost, &zero);

		if (lost)
			(*lost)++;
		return 0;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->time_ns = bpf_ktime_get_ns();
	record->src = pkt->src;
	record->dst = pkt->dst;
	record->sport = pkt->sport;
	record->dport = pkt->dport;
	gh_record_identities(record, pkt);
	record->ifindex = skb->ifindex;
	record->bytes = skb->len;
	record->ether_type = bpf_ntohs(skb->protocol);
	record->type = type;
	record->reason = reason;
	record->direction = direction;
	record->protocol = pkt->protocol;
	record->tcp_flags = pkt->tcp_flags;
	record->icmp_type = pkt->icmp_type;
	record->icmp_code = pkt->icmp_code;
	gh_record_judgement(record, &pkt->judged);
	/* No wake-up: readers look at a steady pace, so a flood of drops costs the sender no scheduling. */
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

#endif
