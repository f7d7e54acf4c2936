/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Fills a ring: "fill" with records of one size, "mixed" with two sizes; every tenth record is thrown away. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct record {
	__u64 number;
	__u32 flow[19];
	__u32 tail;
};

const struct record *unused_record __attribute__((unused));
__u64 made, lost;
__u32 batch = 64;
__u32 discard_every = 10;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

static long one(__u32 i, void *unused)
{
	struct record *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	if (!r) {
		lost++;
		return 0;
	}
	r->number = made++;
	r->tail = (__u32)r->number;
	if (discard_every && r->number % discard_every == discard_every - 1)
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
	else
		bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tc")
int fill(struct __sk_buff *skb)
{
	bpf_loop(batch, one, 0, 0);
	return 0;
}

SEC("tc")
int wake(struct __sk_buff *skb)
{
	struct record *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	if (r) {
		r->number = made++;
		bpf_ringbuf_submit(r, 0);
	}
	return 0;
}

SEC("tc")
int odd_size(struct __sk_buff *skb)
{
	__u64 *r = bpf_ringbuf_reserve(&ring, 12, 0);

	if (r) {
		*r = 0xabcdef;
		bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	}
	return 0;
}

char _license[] SEC("license") = "GPL";
