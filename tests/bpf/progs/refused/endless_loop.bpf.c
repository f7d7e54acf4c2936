/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* A loop that the verifier cannot see the end of. */
SEC("tc")
int endless_loop(struct __sk_buff *skb)
{
	volatile __u32 i = 0;

	while (i != skb->mark)
		i++;
	return i;
}

char _license[] SEC("license") = "GPL";
