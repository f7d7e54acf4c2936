// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
// Teaching program: count packets by protocol and port. One idea: a packed key has no hole that could hold anything.
#include "labs/lesson.h"

struct key {
	__u8 protocol;
	__be16 port;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct key);
	__type(value, __u64);
} seen SEC(".maps");

SEC("tc")
int visits(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp = (void *)(ip + 1);
	__u64 *count;
	struct key key;

	if ((void *)(udp + 1) > end || skb->protocol != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	if (ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_TCP)
		return TC_ACT_OK;
	key.protocol = ip->protocol;
	key.port = udp->dest;
	bpf_map_update_elem(&seen, &key, &(__u64){ 0 }, BPF_NOEXIST); // fails if there is one: then it is left alone
	count = bpf_map_lookup_elem(&seen, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	return TC_ACT_OK;
}
