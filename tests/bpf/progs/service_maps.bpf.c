// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The maps that service tables are written to, and a program that looks into a Maglev table. */
#include "lib/bpf.h"
#include "lib/service.h"

struct row {
	__u32 backends[16];
};

/* The compiler describes only types that something has: as in lib/abi.h. */
const struct row row_as_it_is SEC("abi") = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 64);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_ARRAY);
			__uint(max_entries, 1);
			__uint(map_flags, BPF_F_INNER_MAP);
			__type(key, __u32);
			__type(value, struct row);
		});
} maglev_tables SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, struct gh_source_range_key);
	__type(value, __u8);
} source_ranges SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, struct gh_affinity_key);
	__type(value, struct gh_affinity);
} affinity SEC(".maps");
/* Decision: the number of the backend in slot 5 of table 3. */
SEC("tc")
int slot(struct __sk_buff *skb)
{
	__u32 table = 3, first = 0;
	void *inner = bpf_map_lookup_elem(&maglev_tables, &table);
	const struct row *found;

	if (!inner)
		return -1;
	found = bpf_map_lookup_elem(inner, &first);
	return found ? found->backends[5] : -2;
}

char LICENSE[] SEC("license") = "GPL";
