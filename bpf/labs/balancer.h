/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the load balancer of lab 19 starts from: who talks to whom, the four tables, and reading a TCP packet. */
#ifndef GLASSHIVE_LABS_BALANCER_H
#define GLASSHIVE_LABS_BALANCER_H

#include "labs/lesson.h"

#define MOST_BACKENDS 8

/* Where the fields are that a rewrite changes: Ethernet (14), IPv4 without options (20), TCP. */
enum offset {
	IP_CHECK = 24,
	IP_SOURCE = 26,
	IP_TARGET = 30,
	TCP_SOURCE = 34,
	TCP_TARGET = 36,
	TCP_CHECK = 50,
};

struct end {
	__be32 address;
	__be16 port;
	__u16 zero; /* a key is compared byte by byte: no hole may be left in it */
};

struct flow {
	struct end source, target;
};

/* A service has `count` backends, from number `first` on. */
struct service {
	__u32 first, count;
};

struct backend {
	struct end end;
	__u32 alive;
};

#define TABLE(name, kind, entries, key_type, value_type) \
	struct {                                         \
		__uint(type, kind);                      \
		__uint(max_entries, entries);            \
		__type(key, key_type);                   \
		__type(value, value_type);               \
	} name SEC(".maps")

TABLE(services, BPF_MAP_TYPE_HASH, 64, struct end, struct service);
TABLE(backends, BPF_MAP_TYPE_ARRAY, 256, __u32, struct backend);
/* Conntrack: the backend that a connection was given; and for what that one answers, the service it speaks for. */
TABLE(connections, BPF_MAP_TYPE_LRU_HASH, 16384, struct flow, __u32);
TABLE(answers, BPF_MAP_TYPE_LRU_HASH, 16384, struct flow, struct end);

/* Returns whether this is a TCP packet over IPv4, without options and not a later fragment, and fills in *flow. */
static __always_inline bool read_flow(struct __sk_buff *skb, struct flow *flow)
{
	struct iphdr ip;
	__be16 ports[2];

	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return false;
	if (ip.ihl != 5 || ip.protocol != IPPROTO_TCP || ip.frag_off & bpf_htons(0x1fff))
		return false;
	if (bpf_skb_load_bytes(skb, TCP_SOURCE, ports, sizeof(ports)))
		return false;
	flow->source = (struct end){ .address = ip.saddr, .port = ports[0] };
	flow->target = (struct end){ .address = ip.daddr, .port = ports[1] };
	return true;
}

/* Spreads any number evenly over 32 bits: a small change of the input changes about half of the output. */
static __always_inline __u32 mix(__u32 value)
{
	value = (value ^ (value >> 16)) * 0x7feb352dU;
	value = (value ^ (value >> 15)) * 0x846ca68bU;
	return value ^ (value >> 16);
}

static __always_inline __u32 hash_of(const struct flow *flow)
{
	return mix(flow->source.address ^ mix((__u32)flow->source.port << 16 | flow->target.port));
}

/* Yours to write: puts `new` where the packet has `old`, at these two offsets, and keeps all checksums right. */
static void rewrite(struct __sk_buff *skb, enum offset address, enum offset port, struct end *old, struct end *new);

/* The way back, given: what a backend answers is made to come from the service that the client called. */
SEC("tc")
int backward(struct __sk_buff *skb)
{
	struct flow flow = {};
	struct end *service = read_flow(skb, &flow) ? bpf_map_lookup_elem(&answers, &flow) : NULL;

	if (service)
		rewrite(skb, IP_SOURCE, TCP_SOURCE, &flow.source, service);
	return TC_ACT_OK;
}

#endif
