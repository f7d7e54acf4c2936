/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* One program that permits everything for each hook of a cgroup. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PERMIT(name, context, section) \
	SEC(section)                   \
	int name(struct context *ctx)  \
	{                              \
		return 1;              \
	}

PERMIT(skb_ingress, __sk_buff, "cgroup_skb/ingress")
PERMIT(skb_egress, __sk_buff, "cgroup_skb/egress")
PERMIT(sock_create, bpf_sock, "cgroup/sock_create")
PERMIT(sock_release, bpf_sock, "cgroup/sock_release")
PERMIT(post_bind4, bpf_sock, "cgroup/post_bind4")
PERMIT(post_bind6, bpf_sock, "cgroup/post_bind6")
PERMIT(bind4, bpf_sock_addr, "cgroup/bind4")
PERMIT(bind6, bpf_sock_addr, "cgroup/bind6")
PERMIT(connect4, bpf_sock_addr, "cgroup/connect4")
PERMIT(connect6, bpf_sock_addr, "cgroup/connect6")
PERMIT(sendmsg4, bpf_sock_addr, "cgroup/sendmsg4")
PERMIT(sendmsg6, bpf_sock_addr, "cgroup/sendmsg6")
PERMIT(recvmsg4, bpf_sock_addr, "cgroup/recvmsg4")
PERMIT(recvmsg6, bpf_sock_addr, "cgroup/recvmsg6")
PERMIT(getpeername4, bpf_sock_addr, "cgroup/getpeername4")
PERMIT(getpeername6, bpf_sock_addr, "cgroup/getpeername6")
PERMIT(getsockname4, bpf_sock_addr, "cgroup/getsockname4")
PERMIT(getsockname6, bpf_sock_addr, "cgroup/getsockname6")
PERMIT(device, bpf_cgroup_dev_ctx, "cgroup/dev")
PERMIT(sysctl, bpf_sysctl, "cgroup/sysctl")
PERMIT(getsockopt, bpf_sockopt, "cgroup/getsockopt")
PERMIT(setsockopt, bpf_sockopt, "cgroup/setsockopt")
PERMIT(sock_ops, bpf_sock_ops, "sockops")

char _license[] SEC("license") = "GPL";
