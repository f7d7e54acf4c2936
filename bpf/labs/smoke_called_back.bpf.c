// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
// Teaching program: walk through the items of a datagram. One idea: bpf_loop calls a function a number of times, and the
// verifier has to understand that function only once, however often it is called.
#include "labs/lesson.h"

#define ITEMS 16
#define SMOKE 7

struct item {
	__u8 type, length;
};

struct walk {
	struct __sk_buff *skb;
	__u32 at;
	bool found;
};

/* Returns 1 to end the loop. */
static long look(__u32 round, struct walk *walk)
{
	struct item item;

	if (bpf_skb_load_bytes(walk->skb, walk->at, &item, sizeof(item)))
		return 1;
	walk->found = item.type == SMOKE;
	walk->at += item.length;
	return walk->found;
}

SEC("tc")
int smoke(struct __sk_buff *skb)
{
	struct walk walk = { .skb = skb, .at = ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr) };

	bpf_loop(ITEMS, look, &walk, 0);
	return walk.found ? TC_ACT_SHOT : TC_ACT_OK;
}
