/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Small predicates on the 16-byte address that both families share. */
#ifndef GLASSHIVE_LIB_ADDRESS_H
#define GLASSHIVE_LIB_ADDRESS_H

#include "lib/bpf.h"
#include "types/address.h"

static __always_inline void gh_address_from_ipv4(union gh_address *addr, __be32 ipv4)
{
	addr->quads[0] = 0;
	addr->words[2] = bpf_htonl(0xffff);
	addr->words[3] = ipv4;
}

static __always_inline bool gh_address_equal(const union gh_address *a, const union gh_address *b)
{
	return a->quads[1] == b->quads[1] && a->quads[0] == b->quads[0];
}

static __always_inline bool gh_address_is_zero(const union gh_address *addr)
{
	return !addr->quads[0] && !addr->quads[1];
}

static __always_inline bool gh_address_is_ipv4(const union gh_address *addr)
{
	return !addr->quads[0] && addr->words[2] == bpf_htonl(0xffff);
}

/* 224.0.0.0/4, 255.255.255.255, ff00::/8. */
static __always_inline bool gh_address_is_multicast(const union gh_address *addr)
{
	if (gh_address_is_ipv4(addr))
		return addr->bytes[12] >= 224 && (addr->bytes[12] < 240 || addr->words[3] == 0xffffffff);
	return addr->bytes[0] == 0xff;
}

/* Destinations that mean something on one machine or one wire only: 0/8, 127/8, 169.254/16; ::/127, fe80::/10. */
static __always_inline bool gh_address_is_unroutable(const union gh_address *addr)
{
	if (gh_address_is_ipv4(addr))
		return addr->bytes[12] == 0 || addr->bytes[12] == 127 ||
		       (addr->bytes[12] == 169 && addr->bytes[13] == 254);
	if (addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80)
		return true;
	return !addr->quads[0] && !addr->words[2] && (addr->words[3] & bpf_htonl(~1U)) == 0;
}

#endif
