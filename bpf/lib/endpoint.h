/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Who lives on this node: pods, and the node's own addresses. */
#ifndef GLASSHIVE_LIB_ENDPOINT_H
#define GLASSHIVE_LIB_ENDPOINT_H

#include "lib/bpf.h"
#include "types/endpoint.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, union gh_address);
	__type(value, struct gh_endpoint);
} endpoints SEC(".maps");

/*
 * Verifier: Linux 6.1 wants a key on the stack, and what a global function gets as argument does not count as that:
 * there addr must point to a copy.
 */
static __always_inline const struct gh_endpoint *gh_endpoint_find(const union gh_address *addr)
{
	return bpf_map_lookup_elem(&endpoints, addr);
}

static __always_inline bool gh_endpoint_is_host(const struct gh_endpoint *ep)
{
	return ep->flags & GH_ENDPOINT_HOST;
}

/* Decision: may the pod behind ifindex send from this address? Its endpoint, or NULL: it may not. */
static __always_inline const struct gh_endpoint *gh_endpoint_sender(const union gh_address *addr, __u32 ifindex)
{
	const struct gh_endpoint *ep = gh_endpoint_find(addr);

	if (!ep || ep->ifindex != ifindex || gh_endpoint_is_host(ep))
		return NULL;
	return ep;
}

#endif
