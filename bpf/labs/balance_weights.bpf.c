// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
// Teaching program: a load balancer by weights. Every living backend draws a number for the connection, the highest wins:
// when one goes, only its own connections move (rendezvous hashing).
#include "labs/balancer.h"

static void rewrite(struct __sk_buff *skb, enum offset address, enum offset port, struct end *old, struct end *new)
{
	/* One difference for the whole pseudo header instead of one for each field. */
	__s64 diff = bpf_csum_diff(&old->address, 4, &new->address, 4, 0);

	bpf_l4_csum_replace(skb, TCP_CHECK, 0, diff, BPF_F_PSEUDO_HDR);
	bpf_l4_csum_replace(skb, TCP_CHECK, old->port, new->port, 2);
	bpf_l3_csum_replace(skb, IP_CHECK, 0, diff, 0);
	bpf_skb_store_bytes(skb, address, &new->address, 4, 0);
	bpf_skb_store_bytes(skb, port, &new->port, 2, 0);
}

static __u32 choose(struct service *service, struct flow *flow)
{
	__u32 hash = hash_of(flow), best = 0, chosen = ~0U;

	for (__u32 i = 0; i < MOST_BACKENDS; i++) {
		__u32 number = service->first + i, weight = mix(hash + i) | 1;
		struct backend *backend = bpf_map_lookup_elem(&backends, &number);

		if (i < service->count && backend && backend->alive && weight > best) {
			best = weight;
			chosen = number;
		}
	}
	return chosen;
}

SEC("tc")
int forward(struct __sk_buff *skb)
{
	struct flow flow = {}, back = {};
	struct service *service;
	struct backend *backend;
	__u32 number, *known;

	if (!read_flow(skb, &flow) || !(service = bpf_map_lookup_elem(&services, &flow.target)))
		return TC_ACT_OK;
	known = bpf_map_lookup_elem(&connections, &flow);
	backend = known ? bpf_map_lookup_elem(&backends, known) : NULL;
	if (!backend || !backend->alive) {
		number = choose(service, &flow);
		backend = bpf_map_lookup_elem(&backends, &number);
		if (!backend)
			return TC_ACT_SHOT;
		bpf_map_update_elem(&connections, &flow, &number, BPF_ANY);
	}
	back.source = backend->end;
	back.target = flow.source;
	bpf_map_update_elem(&answers, &back, &flow.target, BPF_ANY);
	rewrite(skb, IP_TARGET, TCP_TARGET, &flow.target, &backend->end);
	return TC_ACT_OK;
}
