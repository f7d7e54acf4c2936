/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Everything the object tests need in one program: constants, maps of several kinds, a tc and an XDP program. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

enum color { RED = 0, GREEN = 5, BLUE = 7 };

union address {
	__u8 bytes[16];
	__be32 words[4];
	__u64 quads[2];
};

struct config {
	__u32 mark;
	__u16 port_min;
	__u16 port_max;
	union address node;
	__u8 mac[6];
	char name[10];
};

struct entry {
	__u64 packets;
	__be32 addr_be;
	__be16 port_be;
	__s16 delta;
	enum color color;
	struct {
		__u8 left;
		__u8 right;
	};
};

struct prefix {
	__u32 prefixlen;
	union address addr;
} __attribute__((packed, aligned(4)));

const volatile struct config config;
const volatile __u32 verdict = 0;
const volatile __u32 weights[4] = { 1, 2, 3, 4 };
__u64 runs;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, union address);
	__type(value, struct entry);
} entries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 128);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 64);
	__type(key, __u8);
	__type(value, __u32);
} per_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct entry);
} table SEC(".maps");

SEC("tc")
int mark_packet(struct __sk_buff *skb)
{
	union address key = {};
	__u8 one = 1;

	__sync_fetch_and_add(&runs, 1);
	skb->mark = config.mark;
	key.bytes[0] = 1;
	struct entry *found = bpf_map_lookup_elem(&entries, &key);
	if (found)
		found->packets++;
	__u32 *count = bpf_map_lookup_elem(&per_cpu, &one);
	if (count)
		*count += weights[3];
	return verdict;
}

SEC("tcx/egress")
int drop_packet(struct __sk_buff *skb)
{
	return 2;
}

SEC("xdp")
int shrink(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_tail(ctx, -4) ? XDP_ABORTED : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
