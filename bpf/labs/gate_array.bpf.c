// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
// Teaching program: drop datagrams to closed ports before the kernel's stack sees them. One idea: an array with a place for
// each port is never full and never collides; and each CPU counts for itself.
#include "labs/lesson.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u8);
} closed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 5);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

static int judge(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct udphdr *udp = (void *)(ip + 1);
	__u8 *shut;
	__u32 port;

	if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->protocol != IPPROTO_UDP || ip->ihl != 5)
		return XDP_PASS;
	port = bpf_ntohs(udp->dest);
	shut = bpf_map_lookup_elem(&closed, &port);
	return shut && *shut ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int gate(struct xdp_md *ctx)
{
	__u32 verdict = judge((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	__u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);

	if (count)
		*count += 1;
	return verdict;
}
