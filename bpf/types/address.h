/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* An IP address as both families share it: 16 bytes in network order, IPv4 as v4-mapped IPv6 (RFC 4291, 2.5.5.2). */
#ifndef GLASSHIVE_TYPES_ADDRESS_H
#define GLASSHIVE_TYPES_ADDRESS_H

union gh_address {
	__u8 bytes[16];
	__be32 words[4];
	__u64 quads[2];
};

#endif
