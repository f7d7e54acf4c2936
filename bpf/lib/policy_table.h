/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The tables that policy is looked up in, and the node's state: written by user space, read and counted in by programs. */
#ifndef GLASSHIVE_LIB_POLICY_TABLE_H
#define GLASSHIVE_LIB_POLICY_TABLE_H

#include "lib/bpf.h"
#include "types/policy.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct gh_policy_bucket);
} policy_peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct gh_policy_bucket);
} policy_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 131072);
	__type(key, __u32);
	__type(value, struct gh_policy_row);
} policy_rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gh_node_state);
} node_state SEC(".maps");

static __always_inline const struct gh_node_state *gh_node_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&node_state, &zero);
}

/* The node's policy revision. Read it before judging, so that a judgement is never taken for newer than its tables. */
static __always_inline __u32 gh_policy_revision(void)
{
	const struct gh_node_state *state = gh_node_state();

	return state ? *(const volatile __u32 *)&state->policy_revision : 0;
}

/* Its two buckets are bits 40 and up, and bits 16 and up. maps/policy_table.py computes the same. */
static __always_inline __u64 gh_policy_hash(__u64 key)
{
	key *= 0x9e3779b97f4a7c15ULL;
	key ^= key >> 32;
	return key * 0xc2b2ae3d27d4eb4fULL;
}

static __always_inline __u64 gh_policy_find_in(const struct gh_policy_bucket *bucket, __u64 key)
{
	const volatile struct gh_policy_slot *slot = bucket->slots;
	__u64 value;

#pragma unroll
	for (int i = 0; i < GH_POLICY_SLOTS; i++, slot++) {
		if (slot->key != key)
			continue;
		value = slot->value;
		if (likely(slot->key == key))
			return value;
	}
	return 0;
}

/* The value under a key, 0: none. mask: number of buckets less 1. */
static __always_inline __u64 gh_policy_find(void *table, __u64 key, __u32 mask)
{
	const __u64 hash = gh_policy_hash(key);
	const struct gh_policy_bucket *bucket;
	__u32 index = hash >> 40 & mask;
	__u64 value = 0;

	bucket = bpf_map_lookup_elem(table, &index);
	if (bucket)
		value = gh_policy_find_in(bucket, key);
	if (likely(value))
		return value;
	index = hash >> 16 & mask;
	bucket = bpf_map_lookup_elem(table, &index);
	return bucket ? gh_policy_find_in(bucket, key) : 0;
}

GH_GLOBAL __u64 gh_policy_find_peer(__u64 key, __u32 mask)
{
	return gh_policy_find(&policy_peers, key, mask);
}

/* Place of the highest bit that is set, 0 to 16; 0 for none. Without branches but for the common case, a whole port. */
static __always_inline __u32 gh_highest_bit(__u32 word)
{
	__u32 place, shift;

	if (likely(word >> GH_POLICY_PORT_BITS))
		return GH_POLICY_PORT_BITS;
	place = (0xff - word) >> 31 << 3;
	word >>= place;
	shift = (0xf - word) >> 31 << 2;
	word >>= shift;
	place |= shift;
	shift = (0x3 - word) >> 31 << 1;
	word >>= shift;
	return place | shift | word >> 1;
}

/*
 * The row of the longest prefix in classes, of which there is one at least. exact: the key of the port itself. Returns the
 * length of that prefix in the place of a value's classes, and, if there is such a row, its value around it.
 * Verifier: all this is here, not in the caller's loop, because a loop is verified once per iteration.
 */
GH_GLOBAL __u64 gh_policy_find_port(__u64 exact, __u32 classes, __u32 mask)
{
	const __u32 bits = gh_highest_bit(classes);
	const __u64 key = (exact & ~(0xffffULL >> bits << GH_POLICY_KEY_PORT)) | bits;

	return gh_policy_find(&policy_ports, key, mask) | (__u64)bits << GH_POLICY_VALUE_CLASSES;
}

#endif
