/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Local sockets that call services: whom they really speak to, and what they believe. */
#ifndef GLASSHIVE_LIB_SOCKET_H
#define GLASSHIVE_LIB_SOCKET_H

#include "lib/affinity.h"
#include "lib/endpoint.h"
#include "lib/ipcache.h"
#include "lib/service.h"

/* How many slots of a set are searched for the backend that an unconnected socket had before the set changed. */
#define GH_SOCKET_SEARCHED_SLOTS 64

/* Cookie of the node's own network namespace (SO_NETNS_COOKIE), 0: unknown. Only there loopback means the node. */
const volatile __u64 node_netns_cookie;

/*
 * Two kinds of entries: under a backend's address what the application has called (answers, getpeername), and, for
 * datagrams, under the called address which backend has them. Either says the called address.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct gh_socket_peer_key);
	__type(value, struct gh_socket_peer);
} socket_peers SEC(".maps");

/* Whom a socket calls. */
struct gh_socket_call {
	union gh_address addr;
	__be16 port;
	__u8 protocol;
	__u8 pad[5];
	__u64 cookie; /* of the socket */
	__u64 netns_cookie;
};

static __always_inline bool gh_address_is_loopback(const union gh_address *addr)
{
	if (gh_address_is_ipv4(addr))
		return addr->bytes[12] == 127;
	return !addr->quads[0] && !addr->words[2] && addr->words[3] == bpf_htonl(1);
}

/*
 * Decision: may the port that all nodes have be called under this address? This node knows what its own addresses
 * mean. Another node's host ports are unknown here, and what it keeps for its own backends it decides itself.
 */
static __always_inline bool gh_socket_calls_node(const struct gh_socket_call *call, const struct gh_frontend *frontend)
{
	const struct gh_endpoint *ep;

	if (gh_address_is_loopback(&call->addr))
		return node_netns_cookie && call->netns_cookie == node_netns_cookie;
	ep = gh_endpoint_find(&call->addr);
	if (ep)
		return gh_endpoint_is_host(ep);
	if (frontend->type == GH_FRONTEND_HOST_PORT || (frontend->flags & GH_FRONTEND_EXTERNAL_LOCAL))
		return false;
	return gh_ipcache_identity(&call->addr) == GH_IDENTITY_REMOTE_NODE;
}

/* Decision: the frontend that is called, or NULL: no service. Whoever calls none pays for two look-ups. */
static __always_inline const struct gh_frontend *gh_socket_frontend(const struct gh_socket_call *call)
{
	const struct gh_frontend *found = gh_frontend_find(&call->addr, call->port, call->protocol);

	if (found)
		return found;
	found = gh_frontend_find_any(!gh_address_is_ipv4(&call->addr), call->port, call->protocol);
	return found && gh_socket_calls_node(call, found) ? found : NULL;
}

static __always_inline void gh_socket_peer_key(struct gh_socket_peer_key *key, __u64 cookie,
					       const union gh_address *addr, __be16 port, __u8 protocol)
{
	*key = (struct gh_socket_peer_key){ .cookie = cookie, .addr = *addr, .port = port, .protocol = protocol };
}

/* What the application has called, if it really speaks to this address; NULL: the same. */
static __always_inline const struct gh_socket_peer *gh_socket_peer_find(__u64 cookie, const union gh_address *addr,
									__be16 port, __u8 protocol)
{
	struct gh_socket_peer_key key;

	gh_socket_peer_key(&key, cookie, addr, port, protocol);
	return bpf_map_lookup_elem(&socket_peers, &key);
}

/* Is the backend still one of the set's? */
GH_GLOBAL int gh_socket_set_has(const struct gh_frontend *frontend, __u32 backend)
{
	__u32 first, count, i;

	if (!frontend)
		return 0;
	first = frontend->sets[GH_SCOPE_INTERNAL].first;
	count = frontend->sets[GH_SCOPE_INTERNAL].count;
	for (i = 0; i < GH_SOCKET_SEARCHED_SLOTS && i < count; i++) {
		__u32 slot = first + i;
		const __u32 *number = bpf_map_lookup_elem(&backend_slots, &slot);

		if (number && *number == backend)
			return 1;
	}
	return 0;
}

/*
 * Decision: the backend that this socket's datagrams to the same service had before, 0: choose. One that terminates
 * keeps them, one that has left the service does not.
 */
static __always_inline __u32 gh_socket_recall(const struct gh_socket_call *call, const struct gh_frontend *frontend)
{
	const struct gh_socket_peer *known = gh_socket_peer_find(call->cookie, &call->addr, call->port, call->protocol);
	const struct gh_backend *backend;
	__u32 number;

	if (!known || known->frontend != frontend->id)
		return 0;
	number = known->backend;
	backend = gh_backend_of(number);
	if (!backend)
		return 0;
	if (backend->state == GH_BACKEND_TERMINATING)
		return number;
	return backend->state == GH_BACKEND_ACTIVE && gh_socket_set_has(frontend, number) ? number : 0;
}

/* Decision: the number of a backend for a new conversation, 0: there is none. */
static __always_inline __u32 gh_socket_choose(const struct gh_socket_call *call, const struct gh_frontend *frontend)
{
	union gh_address client = { .quads = { call->netns_cookie, ~0ULL } };
	__u32 number = 0;

	if (likely(!(frontend->flags & GH_FRONTEND_AFFINITY)))
		return gh_backend_at(&frontend->sets[GH_SCOPE_INTERNAL], bpf_get_prandom_u32());
	number = gh_affinity_recall(&client, frontend);
	if (!number)
		number = gh_backend_at(&frontend->sets[GH_SCOPE_INTERNAL], bpf_get_prandom_u32());
	if (number)
		gh_affinity_remember(&client, frontend, number);
	return number;
}

static __always_inline void gh_socket_remember(const struct gh_socket_call *call, const struct gh_frontend *frontend,
					       __u32 number, const struct gh_backend *backend, bool datagram)
{
	struct gh_socket_peer value = {
		.addr = call->addr, .port = call->port, .frontend = frontend->id, .backend = number
	};
	struct gh_socket_peer_key key;

	gh_socket_peer_key(&key, call->cookie, &backend->addr, backend->port, call->protocol);
	bpf_map_update_elem(&socket_peers, &key, &value, BPF_ANY);
	if (!datagram)
		return;
	gh_socket_peer_key(&key, call->cookie, &call->addr, call->port, call->protocol);
	bpf_map_update_elem(&socket_peers, &key, &value, BPF_ANY);
}

enum gh_socket_verdict {
	GH_SOCKET_AS_IT_IS = 0, /* no service, or one whose packets are to vanish: the datapath drops them */
	GH_SOCKET_TRANSLATED = 1, /* *to is the backend */
	GH_SOCKET_REFUSED = 2, /* nobody answers, and the caller is to know at once */
};

/* Decision: where a socket's call goes. datagram: the socket is not connected and may call others as well. */
static __always_inline enum gh_socket_verdict gh_socket_decide(const struct gh_socket_call *call, bool datagram,
							       const struct gh_backend **to)
{
	const struct gh_frontend *frontend = gh_socket_frontend(call);
	__u32 number = 0;

	if (!frontend)
		return GH_SOCKET_AS_IT_IS;
	if (datagram)
		number = gh_socket_recall(call, frontend);
	if (!number)
		number = gh_socket_choose(call, frontend);
	else if (likely(!!(*to = gh_backend_of(number))))
		return GH_SOCKET_TRANSLATED; /* remembered already */
	*to = gh_backend_of(number);
	if (!*to)
		return frontend->flags & GH_FRONTEND_REJECT ? GH_SOCKET_REFUSED : GH_SOCKET_AS_IT_IS;
	gh_socket_remember(call, frontend, number, *to, datagram);
	return GH_SOCKET_TRANSLATED;
}

#endif
