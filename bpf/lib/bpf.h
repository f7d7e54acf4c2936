/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What every datapath header stands on: UAPI types, libbpf's macros, and the node's constants. */
#ifndef GLASSHIVE_LIB_BPF_H
#define GLASSHIVE_LIB_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "types/drop.h"
#include "types/node.h"

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

/*
 * Verifier: a global function is checked once, on its own, instead of once per way to reach it; that is what keeps
 * loading quick. The price: it may not trust its arguments, so it starts by testing pointers for NULL.
 */
#define GH_GLOBAL __attribute__((noinline))

#define GH_SECOND_NS 1000000000ULL

/* Set between open and load; the verifier removes what the values make unreachable. */
const volatile struct gh_node_config node_config;

/*
 * A verdict is one int for the whole walk of a packet: either a TC action (below 130), or the reason for a drop.
 * Functions pass it upwards unchanged; gh_finish() turns it into the program's return code.
 */
static __always_inline bool gh_is_drop(int verdict)
{
	return verdict >= GH_DROP_INVALID_SOURCE_IP;
}

/* Our own skb->mark: a program of ours has dealt with the packet, later ones on its way let it pass. */
#define GH_MARK_DONE 0x47480001U

static __always_inline void gh_mark_done(struct __sk_buff *skb)
{
	skb->mark = GH_MARK_DONE;
}

static __always_inline bool gh_is_done(const struct __sk_buff *skb)
{
	return skb->mark == GH_MARK_DONE;
}

#endif
