/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Writes a field of the context that programs may only read. */
SEC("tc")
int read_only_context(struct __sk_buff *skb)
{
	*(volatile __u32 *)&skb->len = 0;
	return 0;
}

char _license[] SEC("license") = "GPL";
