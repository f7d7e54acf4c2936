/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Masquerade ports: which port of the node stands for which connection of a pod. The entry of the answering direction
 * (GH_NAT_IN) is what owns a port: it is only ever inserted with BPF_NOEXIST, so two connections cannot share one. The
 * entry of the asking direction (GH_NAT_OUT) merely remembers it, and is believed only while its counterpart agrees.
 */
#ifndef GLASSHIVE_LIB_NAT_H
#define GLASSHIVE_LIB_NAT_H

#include "lib/address.h"
#include "lib/packet.h"
#include "types/nat.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct gh_nat_key);
	__type(value, struct gh_nat_entry);
} nat SEC(".maps");

#define GH_NAT_RANDOM_TRIES 12
#define GH_NAT_LINEAR_TRIES 128

static __always_inline bool gh_nat_is_our_port(__be16 port)
{
	__u16 host = bpf_ntohs(port);

	return host >= node_config.nat_port_min && host <= node_config.nat_port_max;
}

/* Protocols whose ports (or identifiers) tell connections apart behind one address. */
static __always_inline bool gh_nat_is_possible(const struct gh_packet *pkt)
{
	return pkt->protocol == IPPROTO_TCP || pkt->protocol == IPPROTO_UDP || pkt->protocol == IPPROTO_SCTP ||
	       (pkt->flags & GH_PACKET_ECHO);
}

/* The constants are volatile: read them word by word. */
static __always_inline void gh_nat_node_address(union gh_address *addr, bool ipv6)
{
	for (int i = 0; i < 4; i++)
		addr->words[i] = ipv6 ? node_config.node_ipv6.words[i] : node_config.node_ipv4.words[i];
}

static __always_inline void gh_nat_out_key(struct gh_nat_key *key, const struct gh_packet *pkt)
{
	*key = (struct gh_nat_key){ .src = pkt->src,
				    .dst = pkt->dst,
				    .sport = pkt->sport,
				    .dport = pkt->dport,
				    .protocol = pkt->protocol,
				    .direction = GH_NAT_OUT };
}

/* The key under which the answer to out, once translated to addr and port, will be looked for. */
static __always_inline void gh_nat_answer_key(struct gh_nat_key *key, const struct gh_nat_key *out,
					      const union gh_address *addr, __be16 port)
{
	*key = (struct gh_nat_key){ .src = out->dst,
				    .dst = *addr,
				    .sport = out->dport,
				    .dport = port,
				    .protocol = out->protocol,
				    .direction = GH_NAT_IN };
}

/* What an arriving packet's destination stands for: the pod's end, a GH_NAT_HOST entry, or NULL. */
static __always_inline const struct gh_nat_entry *gh_nat_find_in(const struct gh_packet *pkt)
{
	struct gh_nat_key key;

	gh_nat_out_key(&key, pkt);
	key.direction = GH_NAT_IN;
	return bpf_map_lookup_elem(&nat, &key);
}

/* Does the answering entry still belong to this connection? If it was evicted, try to get the port back. */
static __always_inline bool gh_nat_confirm(const struct gh_nat_key *out, const struct gh_nat_key *in,
					   const struct gh_nat_entry *pod_end)
{
	const struct gh_nat_entry *owner = bpf_map_lookup_elem(&nat, in);

	if (!owner)
		return !bpf_map_update_elem(&nat, in, pod_end, BPF_NOEXIST);
	return !(owner->flags & GH_NAT_HOST) && owner->port == out->sport && gh_address_equal(&owner->addr, &out->src);
}

struct gh_nat_search {
	struct gh_nat_key in;
	struct gh_nat_entry pod_end;
	__u32 last;
	bool found;
};

/* bpf_loop body: one candidate. Random first, then the ports that follow the last random one. Returns 1 to stop. */
static long gh_nat_try(__u32 index, void *context)
{
	struct gh_nat_search *search = context;
	__u32 span = node_config.nat_port_max - node_config.nat_port_min + 1;

	search->last = index < GH_NAT_RANDOM_TRIES ? bpf_get_prandom_u32() % span : (search->last + 1) % span;
	search->in.dport = bpf_htons(node_config.nat_port_min + search->last);
	search->found = !bpf_map_update_elem(&nat, &search->in, &search->pod_end, BPF_NOEXIST);
	return search->found;
}

/* Give a new connection a port; its own, if that lies in the range and is free. */
static __always_inline bool gh_nat_allocate(struct gh_nat_search *search, __be16 wanted)
{
	if (search->in.protocol == IPPROTO_SCTP || gh_nat_is_our_port(wanted)) {
		search->in.dport = wanted;
		if (!bpf_map_update_elem(&nat, &search->in, &search->pod_end, BPF_NOEXIST))
			return true;
		/* SCTP's checksum covers its ports and cannot be mended in part, so they stay as they are. */
		if (search->in.protocol == IPPROTO_SCTP)
			return false;
	}
	if (!node_config.nat_port_max)
		return false;
	bpf_loop(GH_NAT_RANDOM_TRIES + GH_NAT_LINEAR_TRIES, gh_nat_try, search, 0);
	return search->found;
}

/*
 * Decision: under which port of node does the pod's packet travel? Fills in *port.
 * Returns TC_ACT_OK, NAT_EXHAUSTED or NAT_UNSUPPORTED.
 */
GH_GLOBAL int gh_nat_map_out(const struct gh_packet *pkt, const union gh_address *node, __be16 *port)
{
	struct gh_nat_search search = {};
	struct gh_nat_entry node_end = {};
	struct gh_nat_key out;
	const struct gh_nat_entry *known;

	if (!pkt || !node || !port)
		return GH_DROP_INVALID_PACKET;
	if (!gh_nat_is_possible(pkt))
		return GH_DROP_NAT_UNSUPPORTED;
	search.pod_end.addr = pkt->src;
	search.pod_end.port = pkt->sport;
	search.pod_end.created_ns = bpf_ktime_get_coarse_ns();
	gh_nat_out_key(&out, pkt);
	known = bpf_map_lookup_elem(&nat, &out);
	if (known) {
		*port = known->port;
		gh_nat_answer_key(&search.in, &out, node, known->port);
		if (gh_nat_confirm(&out, &search.in, &search.pod_end))
			return TC_ACT_OK;
	}
	gh_nat_answer_key(&search.in, &out, node, 0);
	if (!gh_nat_allocate(&search, pkt->sport))
		return GH_DROP_NAT_EXHAUSTED;
	*port = search.in.dport;
	node_end.addr = *node;
	node_end.port = *port;
	node_end.created_ns = search.pod_end.created_ns;
	bpf_map_update_elem(&nat, &out, &node_end, BPF_ANY);
	return TC_ACT_OK;
}

/*
 * Decision, for the node's own packets: keep their port from being given to a pod.
 * Returns TC_ACT_OK, or NAT_COLLISION when a pod's connection has taken it already.
 */
GH_GLOBAL int gh_nat_reserve(const struct gh_packet *pkt)
{
	struct gh_nat_entry self = {};
	const struct gh_nat_entry *owner;
	struct gh_nat_key out, in;

	if (!pkt)
		return GH_DROP_INVALID_PACKET;
	gh_nat_out_key(&out, pkt);
	gh_nat_answer_key(&in, &out, &pkt->src, pkt->sport);
	owner = bpf_map_lookup_elem(&nat, &in);
	if (owner)
		return owner->flags & GH_NAT_HOST ? TC_ACT_OK : GH_DROP_NAT_COLLISION;
	self.flags = GH_NAT_HOST;
	self.addr = pkt->src;
	self.port = pkt->sport;
	self.created_ns = bpf_ktime_get_coarse_ns();
	bpf_map_update_elem(&nat, &in, &self, BPF_NOEXIST);
	return TC_ACT_OK;
}

#endif
