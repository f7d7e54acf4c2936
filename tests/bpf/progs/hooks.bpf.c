/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* One small program per hook; each counts its runs. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

const volatile __u32 only_pid = 0;
__u64 runs[9];

enum which { TC, OTHER_TC, XDP_RUN, CONNECT, TRACEPOINT, RAW_TRACEPOINT, USER_FUNCTION, KERNEL_FUNCTION, LOOKUP };

static int count(enum which which)
{
	__sync_fetch_and_add(&runs[which], 1);
	return 0;
}

static int is_ours(void)
{
	return bpf_get_current_pid_tgid() >> 32 == only_pid;
}

SEC("tc")
int on_packet(struct __sk_buff *skb)
{
	return count(TC);
}

SEC("tc")
int on_packet_too(struct __sk_buff *skb)
{
	return count(OTHER_TC);
}

SEC("xdp")
int on_frame(struct xdp_md *ctx)
{
	count(XDP_RUN);
	return XDP_PASS;
}

SEC("sk_lookup")
int on_lookup(struct bpf_sk_lookup *ctx)
{
	count(LOOKUP);
	return SK_PASS;
}

SEC("cgroup/connect4")
int on_connect(struct bpf_sock_addr *ctx)
{
	count(CONNECT);
	return 1;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int on_tracepoint(void *ctx)
{
	return is_ours() ? count(TRACEPOINT) : 0;
}

SEC("raw_tp/sys_enter")
int on_raw_tracepoint(void *ctx)
{
	return is_ours() ? count(RAW_TRACEPOINT) : 0;
}

SEC("uprobe")
int on_user_function(void *ctx)
{
	return count(USER_FUNCTION);
}

SEC("kprobe")
int on_kernel_function(void *ctx)
{
	return is_ours() ? count(KERNEL_FUNCTION) : 0;
}

char _license[] SEC("license") = "GPL";
