/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which clients from outside may call a service (loadBalancerSourceRanges). */
#ifndef GLASSHIVE_LIB_SOURCE_RANGE_H
#define GLASSHIVE_LIB_SOURCE_RANGE_H

#include "lib/service.h"

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct gh_source_range_key);
	__type(value, __u8);
} source_ranges SEC(".maps");

/* Decision: may a client with this address call? */
static __always_inline bool gh_source_range_admits(const struct gh_frontend *frontend, const union gh_address *client)
{
	struct gh_source_range_key key = { .prefixlen = 32 + 128, .frontend = frontend->id, .addr = *client };

	if (likely(!(frontend->flags & GH_FRONTEND_SOURCE_RANGES)))
		return true;
	return !bpf_map_lookup_elem(&source_ranges, &key) == !!(frontend->flags & GH_FRONTEND_SOURCE_DENY);
}

#endif
