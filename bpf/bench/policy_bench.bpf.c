// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * What one verdict costs. Each run takes the next packet of a list, so that a benchmark can walk over all entries:
 * empty takes it and does nothing, by_policy asks the datapath's own look-up, by_trie one LPM trie of the same entries.
 */
#include "lib/bpf.h"
#include "lib/policy.h"

#define GH_BENCH_PACKETS 65536 /* a power of two */

struct gh_bench_packet {
	__u32 policy; /* number << 1 | GH_POLICY_EGRESS or 0 */
	__u32 identity;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

/* What a row of a trie would be: a verdict and the rule. */
struct gh_bench_trie_row {
	__u32 rule;
	__u8 verdict;
	__u8 pad[3];
};

struct gh_bench_trie_key {
	__u32 prefixlen;
	__u32 policy;
	__u32 identity;
	__u8 protocol;
	__u8 pad;
	__be16 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GH_BENCH_PACKETS);
	__type(key, __u32);
	__type(value, struct gh_bench_packet);
} bench_packets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_cursor SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct gh_bench_trie_key);
	__type(value, struct gh_bench_trie_row);
} bench_trie SEC(".maps");

static __always_inline const struct gh_bench_packet *next_packet(void)
{
	__u32 zero = 0, at;
	__u32 *cursor = bpf_map_lookup_elem(&bench_cursor, &zero);

	if (!cursor)
		return NULL;
	at = (*cursor)++ & (GH_BENCH_PACKETS - 1);
	return bpf_map_lookup_elem(&bench_packets, &at);
}

SEC("tc")
int empty(struct __sk_buff *skb)
{
	const struct gh_bench_packet *packet = next_packet();

	return packet ? packet->protocol : 0;
}

SEC("tc")
int by_policy(struct __sk_buff *skb)
{
	const struct gh_bench_packet *packet = next_packet();
	struct gh_judgement judged = {};

	if (!packet)
		return 0;
	judged.policy = packet->policy;
	judged.peer = packet->identity;
	return gh_policy_look(&judged, packet->port, packet->protocol, 64);
}

SEC("tc")
int by_trie(struct __sk_buff *skb)
{
	const struct gh_bench_packet *packet = next_packet();
	struct gh_bench_trie_key key = { .prefixlen = 8 * (sizeof(key) - sizeof(key.prefixlen)) };
	const struct gh_bench_trie_row *row;

	if (!packet)
		return 0;
	key.policy = packet->policy;
	key.identity = packet->identity;
	key.protocol = packet->protocol;
	key.port = packet->port;
	row = bpf_map_lookup_elem(&bench_trie, &key);
	return row ? row->verdict : 0;
}

char LICENSE[] SEC("license") = "GPL";
