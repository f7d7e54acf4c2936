/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Change one end of the packet that an ICMP error quotes; its checksums follow, and so does the error's own. */
#ifndef GLASSHIVE_LIB_REWRITE_QUOTE_H
#define GLASSHIVE_LIB_REWRITE_QUOTE_H

#include "lib/icmp_error.h"
#include "lib/rewrite.h"

/* Mend the 16-bit checksum at offset by diff, if it is in the packet. Returns what that adds to a sum over it. */
GH_GLOBAL __u32 gh_mend_quoted(struct __sk_buff *skb, __u32 offset, __u64 diff)
{
	__be16 old, new;
	__u64 sum;

	if (bpf_skb_load_bytes(skb, offset, &old, 2) || !old)
		return 0;
	sum = (__u16)~old + (__u64)(__u32)diff;
	for (int i = 0; i < 3; i++)
		sum = (sum & 0xffff) + (sum >> 16);
	new = ~sum;
	if (!new)
		new = 0xffff;
	return bpf_skb_store_bytes(skb, offset, &new, 2, 0) ? 0 : gh_half_diff(old, new);
}

/* Address and port of one end of the quoted packet. Returns TC_ACT_OK or GH_DROP_WRITE_FAILED. */
GH_GLOBAL int gh_store_quoted(struct __sk_buff *skb, const struct gh_icmp_quote *quote, enum gh_end end,
			      const struct gh_nat_entry *to)
{
	union gh_address addr;
	__be16 port;
	bool ipv6;

	if (!quote || !to)
		return GH_DROP_WRITE_FAILED;
	addr = to->addr;
	port = to->port;
	ipv6 = gh_is_ipv6(&quote->pkt);
	if (gh_store_address(skb, quote->l3 + gh_address_offset(ipv6, end), ipv6, &addr))
		return GH_DROP_WRITE_FAILED;
	if (quote->pkt.protocol != IPPROTO_SCTP &&
	    bpf_skb_store_bytes(skb, quote->pkt.l4 + gh_port_offset(&quote->pkt, end), &port, 2, 0))
		return GH_DROP_WRITE_FAILED;
	return TC_ACT_OK;
}

/*
 * Changes one end of the packet that the ICMP error *pkt quotes, and the error's own checksum for it.
 * Returns TC_ACT_OK or GH_DROP_WRITE_FAILED.
 */
GH_GLOBAL int gh_rewrite_quote(struct __sk_buff *skb, const struct gh_packet *pkt, struct gh_icmp_quote *quote,
			       enum gh_end end, const struct gh_nat_entry *to)
{
	__s64 address_diff, port_diff, total;
	struct gh_packet *inner;
	union gh_address new;
	__be16 new_port;
	__u32 check;
	bool ipv6;

	if (!pkt || !quote || !to)
		return GH_DROP_INVALID_PACKET;
	inner = &quote->pkt;
	new = to->addr;
	new_port = to->port;
	ipv6 = gh_is_ipv6(pkt);
	check = gh_checksum_offset(inner->protocol);
	address_diff = (__u32)gh_address_diff(ipv6, end == GH_END_SRC ? &inner->src : &inner->dst, &new);
	port_diff = (__u32)gh_half_diff(end == GH_END_SRC ? inner->sport : inner->dport, new_port);
	total = port_diff + address_diff;
	if (gh_store_quoted(skb, quote, end, to) != TC_ACT_OK)
		return GH_DROP_WRITE_FAILED;
	if (!ipv6)
		total += gh_mend_quoted(skb, quote->l3 + offsetof(struct iphdr, check), address_diff);
	if (check)
		total += gh_mend_quoted(skb, inner->l4 + check,
					port_diff + (inner->protocol == IPPROTO_ICMP ? 0 : address_diff));
	total = (total & 0xffffffff) + (total >> 32);
	if (bpf_l4_csum_replace(skb, (pkt->l4 & GH_L4_MASK) + 2, 0, total, 0))
		return GH_DROP_WRITE_FAILED;
	return TC_ACT_OK;
}

#endif
