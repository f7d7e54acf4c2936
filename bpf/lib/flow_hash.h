/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* A hash of a packet's five-tuple that all nodes compute alike. */
#ifndef GLASSHIVE_LIB_FLOW_HASH_H
#define GLASSHIVE_LIB_FLOW_HASH_H

#include "lib/bpf.h"
#include "lib/packet.h"

/* One step: multiply by an odd number, and bring the high bits down, which a multiplication alone never does. */
static __always_inline __u64 gh_hash_mix(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

/* The tuple's 64 bits of hash, evenly spread. salt: another hash for each. */
static __always_inline __u64 gh_tuple_hash(const union gh_address *src, const union gh_address *dst, __be16 sport,
					   __be16 dport, __u8 protocol, __u32 salt)
{
	__u64 hash = gh_hash_mix(node_config.hash_seed,
				 (__u64)salt << 40 | (__u64)protocol << 32 | (__u32)sport << 16 | dport);

	hash = gh_hash_mix(hash, src->quads[0]);
	hash = gh_hash_mix(hash, src->quads[1]);
	hash = gh_hash_mix(hash, dst->quads[0]);
	hash = gh_hash_mix(hash, dst->quads[1]);
	hash *= 0xc2b2ae3d27d4eb4fULL;
	return hash ^ hash >> 32;
}

static __always_inline __u32 gh_flow_hash(const struct gh_packet *pkt, __u32 salt)
{
	return gh_tuple_hash(&pkt->src, &pkt->dst, pkt->sport, pkt->dport, pkt->protocol, salt) >> 32;
}

#endif
