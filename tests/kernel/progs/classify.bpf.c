// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Counts packets on a device: for kernels whose tc hook is cls_bpf on clsact. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

SEC("tc")
int count_packet(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *number = bpf_map_lookup_elem(&packets, &zero);

	if (number)
		__sync_fetch_and_add(number, 1);
	return -1; /* TC_ACT_UNSPEC: whoever comes next decides */
}

char LICENSE[] SEC("license") = "GPL";
