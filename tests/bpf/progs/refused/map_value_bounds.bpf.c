/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[16]);
} table SEC(".maps");

/* Indexes a map value with a number from outside. */
SEC("tc")
int map_value_bounds(struct __sk_buff *skb)
{
	__u32 key = 0;
	__u8 *bytes = bpf_map_lookup_elem(&table, &key);

	return bytes ? bytes[skb->mark] : 0;
}

char _license[] SEC("license") = "GPL";
