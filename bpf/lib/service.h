/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Services: which frontend is called, and which of its backends answers. Programs only read these tables. */
#ifndef GLASSHIVE_LIB_SERVICE_H
#define GLASSHIVE_LIB_SERVICE_H

#include "lib/address.h"
#include "lib/bpf.h"
#include "types/service.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct gh_frontend_key);
	__type(value, struct gh_frontend);
} frontends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct gh_backend);
} backends SEC(".maps");

/* Numbers of backends, in runs that belong to one set each. A run is written before a frontend points to it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u32);
} backend_slots SEC(".maps");

static __always_inline const struct gh_frontend *gh_frontend_find(const union gh_address *addr, __be16 port,
								  __u8 protocol)
{
	struct gh_frontend_key key = { .addr = *addr, .port = port, .protocol = protocol };

	return bpf_map_lookup_elem(&frontends, &key);
}

/* The frontend that a port has on every node, whatever the node's address. */
static __always_inline const struct gh_frontend *gh_frontend_find_any(bool ipv6, __be16 port, __u8 protocol)
{
	union gh_address any = {};

	if (!ipv6)
		any.words[2] = bpf_htonl(0xffff);
	return gh_frontend_find(&any, port, protocol);
}

static __always_inline const struct gh_backend *gh_backend_of(__u32 number)
{
	return number ? bpf_map_lookup_elem(&backends, &number) : NULL;
}

/*
 * Decision: the number of one of the set's backends, each as likely as it has slots; 0: there is none. chance: any
 * 32 bits that are evenly spread.
 */
static __always_inline __u32 gh_backend_at(const struct gh_backend_set *set, __u32 chance)
{
	__u32 slot = set->first + (__u32)(((__u64)chance * set->count) >> 32);
	const __u32 *number;

	if (!set->count)
		return 0;
	number = bpf_map_lookup_elem(&backend_slots, &slot);
	return number ? *number : 0;
}

#endif
