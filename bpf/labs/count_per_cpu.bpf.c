// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
// Teaching program: count packets by protocol. One idea: each CPU has a counter of its own, so none waits for another;
// whoever reads the map adds them up.
#include "labs/lesson.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

SEC("tc")
int count(struct __sk_buff *skb)
{
	__u8 number;
	__u32 protocol;
	__u64 *mine;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, protocol), &number, 1))
		return TC_ACT_OK;
	protocol = number;
	mine = bpf_map_lookup_elem(&hits, &protocol);
	if (mine)
		*mine += 1;
	return TC_ACT_OK;
}
