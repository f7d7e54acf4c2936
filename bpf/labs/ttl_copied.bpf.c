// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
// Teaching program: drop IPv4 packets that are nearly spent. One idea: a helper copies bytes out of a packet and says
// whether they were there, so no pointer into the packet needs a proof.
#include "labs/lesson.h"

SEC("tc")
int ttl(struct __sk_buff *skb)
{
	struct iphdr ip;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return TC_ACT_OK;
	return ip.ttl < 10 ? TC_ACT_SHOT : TC_ACT_OK;
}
