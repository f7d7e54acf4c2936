/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Reaches below its 512 bytes of stack. */
SEC("tc")
int stack_too_large(struct __sk_buff *skb)
{
	register __u64 frame asm("r10");
	__u64 value;

	asm volatile("r3 = r10; r3 += -520; r4 = 1; *(u64 *)(r3 + 0) = r4" : : : "r3", "r4", "memory");
	return 0;
}

char _license[] SEC("license") = "GPL";
