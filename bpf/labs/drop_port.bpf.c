// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
// Teaching program: a rule that drops what goes to one TCP or UDP port, at a tcx hook. It is also the fault "drop-rule".
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

const volatile __u16 port = 8080; // set before loading

static __always_inline int is_dropped(const void *l4, const void *end, __u8 protocol)
{
	const struct udphdr *udp = l4; // TCP has its ports in the same place

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return 0;
	return (const void *)(udp + 1) <= end && udp->dest == bpf_htons(port);
}

SEC("tc")
int drop_port(struct __sk_buff *skb)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct ethhdr *eth = data;
	const struct ipv6hdr *ip6 = data + sizeof(*eth);
	const struct iphdr *ip = data + sizeof(*eth);
	int found = 0;

	if ((const void *)(eth + 1) > end)
		return TC_ACT_UNSPEC;
	if (eth->h_proto == bpf_htons(ETH_P_IP) && (const void *)(ip + 1) <= end)
		found = is_dropped((const void *)ip + ip->ihl * 4, end, ip->protocol);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6) && (const void *)(ip6 + 1) <= end)
		found = is_dropped(ip6 + 1, end, ip6->nexthdr);
	return found ? TC_ACT_SHOT : TC_ACT_UNSPEC; // next: the program behind this one at the same hook
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
