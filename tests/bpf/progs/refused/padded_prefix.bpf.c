/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* The compiler leaves four bytes after the prefix length, which the trie would take for the address. */
struct prefix {
	__u32 prefixlen;
	__u64 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} padded_prefix SEC(".maps");

SEC("tc")
int use_it(struct __sk_buff *skb)
{
	struct prefix key = {};

	return bpf_map_lookup_elem(&padded_prefix, &key) ? 1 : 0;
}

char _license[] SEC("license") = "GPL";
