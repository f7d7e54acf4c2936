/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Fragmented datagrams: only the first fragment carries ports, the others find them here. */
#ifndef GLASSHIVE_TYPES_FRAGMENT_H
#define GLASSHIVE_TYPES_FRAGMENT_H

#include "address.h"

/* Key of the LRU hash "fragments". */
struct gh_fragment_key {
	union gh_address src;
	union gh_address dst;
	__be32 id; /* IPv4: 16 bits in the low half of the word as loaded; IPv6: 32 bits */
	__u8 protocol; /* IPv4 only: part of the datagram's name (RFC 791). 0 for IPv6 (RFC 8200) */
	__u8 pad[3];
};

struct gh_fragment {
	__be16 sport;
	__be16 dport;
	__u8 protocol; /* behind all extension headers */
	__u8 flags; /* that of the programs' own enum gh_packet_flags which later fragments share */
	__u8 icmp_type;
	__u8 pad;
};

#endif
