// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
// Teaching program that the verifier refuses: it reads the IP header without proving that the packet has one.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int no_bounds(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	struct iphdr *ip = data + sizeof(struct ethhdr);

	return ip->ttl > 1 ? 0 : 2; // refused here: nothing says that ip->ttl lies inside the packet
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
