/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which backend a client had last (session affinity ClientIP). */
#ifndef GLASSHIVE_LIB_AFFINITY_H
#define GLASSHIVE_LIB_AFFINITY_H

#include "lib/service.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct gh_affinity_key);
	__type(value, struct gh_affinity);
} affinity SEC(".maps");

/* Decision: the number of the backend that the client goes back to; 0: none is remembered, or it takes no connections. */
GH_GLOBAL __u32 gh_affinity_recall(const union gh_address *client, const struct gh_frontend *frontend)
{
	struct gh_affinity_key key = {};
	const struct gh_affinity *known;
	const struct gh_backend *backend;
	__u32 number;

	if (!client || !frontend)
		return 0;
	key.client = *client;
	key.frontend = frontend->id;
	known = bpf_map_lookup_elem(&affinity, &key);
	if (!known || bpf_ktime_get_coarse_ns() > known->used_ns + frontend->affinity_s * GH_SECOND_NS)
		return 0;
	number = known->backend;
	backend = gh_backend_of(number);
	return backend && backend->state == GH_BACKEND_ACTIVE ? number : 0;
}

/* The client was sent there just now. */
GH_GLOBAL int gh_affinity_remember(const union gh_address *client, const struct gh_frontend *frontend, __u32 backend)
{
	struct gh_affinity value = { .used_ns = bpf_ktime_get_coarse_ns(), .backend = backend };
	struct gh_affinity_key key = {};

	if (!client || !frontend)
		return 0;
	key.client = *client;
	key.frontend = frontend->id;
	bpf_map_update_elem(&affinity, &key, &value, BPF_ANY);
	return 0;
}

#endif
