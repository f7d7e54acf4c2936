// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * The node's cgroup: local sockets that call a service are connected to one of its backends, once per connection (or
 * datagram, if the socket is not connected) instead of once per packet. Applications see the service's address.
 */
#include <linux/errno.h>
#include "lib/abi.h"
#include "lib/bpf.h"
#include "lib/socket.h"

#define PASS 1
#define REFUSE 0

static __always_inline void socket_called4(const struct bpf_sock_addr *ctx, union gh_address *addr)
{
	gh_address_from_ipv4(addr, ctx->user_ip4);
}

/* A v4-mapped address is what both families share: nothing is to be done for it. */
static __always_inline void socket_called6(const struct bpf_sock_addr *ctx, union gh_address *addr)
{
	addr->words[0] = ctx->user_ip6[0];
	addr->words[1] = ctx->user_ip6[1];
	addr->words[2] = ctx->user_ip6[2];
	addr->words[3] = ctx->user_ip6[3];
}

static __always_inline void socket_set4(struct bpf_sock_addr *ctx, const union gh_address *addr, __be16 port)
{
	ctx->user_ip4 = addr->words[3];
	ctx->user_port = port;
}

static __always_inline void socket_set6(struct bpf_sock_addr *ctx, const union gh_address *addr, __be16 port)
{
	ctx->user_ip6[0] = addr->words[0];
	ctx->user_ip6[1] = addr->words[1];
	ctx->user_ip6[2] = addr->words[2];
	ctx->user_ip6[3] = addr->words[3];
	ctx->user_port = port;
}

static __always_inline void socket_call(struct bpf_sock_addr *ctx, struct gh_socket_call *call)
{
	call->port = ctx->user_port;
	call->protocol = ctx->protocol;
	call->cookie = bpf_get_socket_cookie(ctx);
	call->netns_cookie = bpf_get_netns_cookie(ctx);
}

/* What kube-proxy's rules answer as well: a port where nobody listens. */
static __always_inline int socket_refuse(void)
{
	bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

static __always_inline int socket_forward4(struct bpf_sock_addr *ctx, bool datagram)
{
	const struct gh_backend *to = NULL;
	struct gh_socket_call call = {};
	enum gh_socket_verdict verdict;

	socket_called4(ctx, &call.addr);
	socket_call(ctx, &call);
	verdict = gh_socket_decide(&call, datagram, &to);
	if (verdict == GH_SOCKET_REFUSED)
		return socket_refuse();
	if (verdict == GH_SOCKET_TRANSLATED && to)
		socket_set4(ctx, &to->addr, to->port);
	return PASS;
}

static __always_inline int socket_forward6(struct bpf_sock_addr *ctx, bool datagram)
{
	const struct gh_backend *to = NULL;
	struct gh_socket_call call = {};
	enum gh_socket_verdict verdict;

	socket_called6(ctx, &call.addr);
	socket_call(ctx, &call);
	verdict = gh_socket_decide(&call, datagram, &to);
	if (verdict == GH_SOCKET_REFUSED)
		return socket_refuse();
	if (verdict == GH_SOCKET_TRANSLATED && to)
		socket_set6(ctx, &to->addr, to->port);
	return PASS;
}

static __always_inline int socket_back4(struct bpf_sock_addr *ctx)
{
	const struct gh_socket_peer *known;
	union gh_address addr;

	socket_called4(ctx, &addr);
	known = gh_socket_peer_find(bpf_get_socket_cookie(ctx), &addr, ctx->user_port, ctx->protocol);
	if (known)
		socket_set4(ctx, &known->addr, known->port);
	return PASS;
}

static __always_inline int socket_back6(struct bpf_sock_addr *ctx)
{
	const struct gh_socket_peer *known;
	union gh_address addr;

	socket_called6(ctx, &addr);
	known = gh_socket_peer_find(bpf_get_socket_cookie(ctx), &addr, ctx->user_port, ctx->protocol);
	if (known)
		socket_set6(ctx, &known->addr, known->port);
	return PASS;
}

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *ctx)
{
	return socket_forward4(ctx, false);
}

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *ctx)
{
	return socket_forward6(ctx, false);
}

SEC("cgroup/sendmsg4")
int sock_sendmsg4(struct bpf_sock_addr *ctx)
{
	return socket_forward4(ctx, true);
}

SEC("cgroup/sendmsg6")
int sock_sendmsg6(struct bpf_sock_addr *ctx)
{
	return socket_forward6(ctx, true);
}

SEC("cgroup/recvmsg4")
int sock_recvmsg4(struct bpf_sock_addr *ctx)
{
	return socket_back4(ctx);
}

SEC("cgroup/recvmsg6")
int sock_recvmsg6(struct bpf_sock_addr *ctx)
{
	return socket_back6(ctx);
}

SEC("cgroup/getpeername4")
int sock_getpeer4(struct bpf_sock_addr *ctx)
{
	return socket_back4(ctx);
}

SEC("cgroup/getpeername6")
int sock_getpeer6(struct bpf_sock_addr *ctx)
{
	return socket_back6(ctx);
}

char LICENSE[] SEC("license") = "GPL";
