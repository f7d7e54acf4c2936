/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which backend a new connection goes to: the one its client had before, the one its hash says, or any. */
#ifndef GLASSHIVE_LIB_SERVICE_CHOICE_H
#define GLASSHIVE_LIB_SERVICE_CHOICE_H

#include "lib/flow_hash.h"
#include "lib/packet.h"
#include "lib/service.h"

/*
 * Maglev tables by number (gh_backend_set.table). User space fills a new inner map and puts it in the old one's place,
 * so a packet sees one table or the other. A row has 16 slots, for arrays waste half of a 4-byte element.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_ARRAY);
			__uint(max_entries, 1);
			__uint(map_flags, BPF_F_INNER_MAP); /* tables may differ in size */
			__uint(key_size, sizeof(__u32));
			__uint(value_size, sizeof(struct gh_maglev_row));
		});
} maglev_tables SEC(".maps");

/* The backend in the table's slot for this hash, 0: none. */
static __always_inline __u32 gh_maglev_at(__u32 table, __u32 hash)
{
	const __u32 slot = ((__u64)hash * node_config.maglev_slots) >> 32;
	__u32 row = slot / GH_MAGLEV_ROW_SLOTS;
	const struct gh_maglev_row *found;
	void *inner;

	inner = bpf_map_lookup_elem(&maglev_tables, &table);
	if (!inner)
		return 0;
	found = bpf_map_lookup_elem(inner, &row);
	return found ? found->backends[slot % GH_MAGLEV_ROW_SLOTS] : 0;
}

#define GH_CHOICE_TRIES 12
#define GH_CHOICE_LAST_RESORT 8 /* from this try on a backend that is about to end will do */

/* May a new connection go to this backend? */
static __always_inline bool gh_backend_takes(const struct gh_backend *backend, __u32 attempt)
{
	return backend->state == GH_BACKEND_ACTIVE ||
	       (attempt >= GH_CHOICE_LAST_RESORT && backend->state == GH_BACKEND_TERMINATING);
}

/*
 * Decision: the number of a backend for a new connection, another one with each attempt as far as there are others.
 * 0: the set has none there, or it takes no connections.
 */
GH_GLOBAL __u32 gh_service_choose(const struct gh_frontend *frontend, const struct gh_packet *pkt, __u32 scope,
				  __u32 attempt)
{
	const struct gh_backend *backend;
	const struct gh_backend_set *set;
	__u32 number = 0;

	if (!frontend || !pkt)
		return 0;
	set = scope == GH_SCOPE_EXTERNAL ? &frontend->sets[GH_SCOPE_EXTERNAL] : &frontend->sets[GH_SCOPE_INTERNAL];
	if (scope == GH_SCOPE_EXTERNAL && (frontend->flags & GH_FRONTEND_MAGLEV) && set->table &&
	    node_config.maglev_slots)
		number = gh_maglev_at(set->table, gh_flow_hash(pkt, attempt));
	if (!number)
		number = gh_backend_at(set, bpf_get_prandom_u32());
	backend = gh_backend_of(number);
	return backend && gh_backend_takes(backend, attempt) ? number : 0;
}

#endif
