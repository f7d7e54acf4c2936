/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Calls a helper that this program type does not have. */
SEC("xdp")
int wrong_helper(struct xdp_md *ctx)
{
	return bpf_skb_pull_data((void *)ctx, 0);
}

char _license[] SEC("license") = "GPL";
