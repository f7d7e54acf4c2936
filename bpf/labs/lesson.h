/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What a program of a lab starts from: the kernel's types, libbpf's helpers, headers of packets, a licence. */
#ifndef GLASSHIVE_LABS_LESSON_H
#define GLASSHIVE_LABS_LESSON_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
