// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
// Teaching program: join devices in pairs. One idea: which device leads where stands in a map, so one program serves any
// number of pairs, and a pair can be changed while packets pass.
#include "labs/lesson.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} peers SEC(".maps");

SEC("tc")
int cable(struct __sk_buff *skb)
{
	__u32 here = skb->ifindex, *there = bpf_map_lookup_elem(&peers, &here);

	return there ? bpf_redirect(*there, 0) : TC_ACT_SHOT;
}
