/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which identity an address has and on which node it lives. */
#ifndef GLASSHIVE_LIB_IPCACHE_H
#define GLASSHIVE_LIB_IPCACHE_H

#include "lib/bpf.h"
#include "types/identity.h"
#include "types/ipcache.h"

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct gh_ipcache_key);
	__type(value, struct gh_ipcache_entry);
} ipcache SEC(".maps");

/* The most specific entry, or NULL: nothing is known, the address belongs to the world. */
static __always_inline const struct gh_ipcache_entry *gh_ipcache_find(const union gh_address *addr)
{
	struct gh_ipcache_key key = { .prefixlen = 128, .addr = *addr };

	return bpf_map_lookup_elem(&ipcache, &key);
}

/* 0 when nothing is known of the address. */
static __always_inline __u32 gh_ipcache_identity(const union gh_address *addr)
{
	const struct gh_ipcache_entry *entry = gh_ipcache_find(addr);

	return entry ? entry->identity : GH_IDENTITY_UNKNOWN;
}

static __always_inline bool gh_ipcache_in_cluster(const struct gh_ipcache_entry *entry)
{
	return entry && (entry->flags & GH_IPCACHE_IN_CLUSTER);
}

#endif
