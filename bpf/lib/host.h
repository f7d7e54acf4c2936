/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Host firewall: policy for what the node itself sends and receives. */
#ifndef GLASSHIVE_LIB_HOST_H
#define GLASSHIVE_LIB_HOST_H

#include "lib/admit.h"
#include "lib/icmp.h"

static __always_inline bool gh_is_fragmentation_needed(const struct gh_packet *pkt)
{
	if (gh_is_ipv6(pkt))
		return pkt->icmp_type == GH_ICMPV6_TOO_BIG;
	return pkt->icmp_type == GH_ICMP_UNREACHABLE && pkt->icmp_code == GH_ICMP_FRAGMENTATION_NEEDED;
}

static __always_inline bool gh_is_node(__u32 identity)
{
	return identity == GH_IDENTITY_REMOTE_NODE || identity == GH_IDENTITY_KUBE_APISERVER ||
	       identity >> 24 == GH_IDENTITY_SCOPE_REMOTE_NODE;
}

/*
 * What keeps a node alive whatever its policy: addresses by DHCP (RFC 2131, RFC 8415), and the cluster's tunnel to and
 * from other nodes, whose inner packets are judged. ARP and multicast do not come here at all; neighbour discovery is
 * let pass by gh_ask_both().
 */
static __always_inline bool gh_is_vital(const struct gh_packet *pkt, const union gh_address *peer)
{
	const __u16 sport = bpf_ntohs(pkt->sport), dport = bpf_ntohs(pkt->dport);

	if (pkt->protocol != IPPROTO_UDP)
		return false;
	if (node_config.overlay_port && dport == node_config.overlay_port)
		return gh_is_node(gh_ipcache_identity(peer));
	if (gh_is_ipv6(pkt))
		return (sport == 546 && dport == 547) || (sport == 547 && dport == 546);
	return (sport == 68 && dport == 67) || (sport == 67 && dport == 68);
}

static __always_inline bool gh_is_firewalled(const struct gh_party *host)
{
	return host->flags & (GH_ENDPOINT_INGRESS_ENFORCED | GH_ENDPOINT_EGRESS_ENFORCED);
}

/*
 * Decision: may the node send or receive this? host is one of ends. A node without a policy has its connections with
 * other machines not tracked at all.
 * Returns TC_ACT_OK, or a drop reason as gh_admit() does.
 */
static __always_inline int gh_admit_host(struct __sk_buff *skb, struct gh_packet *pkt, struct gh_parties *ends,
					 const struct gh_party *host)
{
	int verdict;

	if (likely(!gh_is_firewalled(host)) || gh_is_vital(pkt, host == &ends->dst ? &pkt->src : &pkt->dst))
		return TC_ACT_OK;
	verdict = gh_admit(skb, pkt, ends);
	/* About a tunnel's outer packet, which is no tracked connection: the kernel must learn what fits. */
	if (verdict == GH_DROP_ICMP_UNRELATED && gh_is_fragmentation_needed(pkt))
		return TC_ACT_OK;
	return gh_is_drop(verdict) ? verdict : TC_ACT_OK;
}

/*
 * Decision: what becomes of a packet of the node that our parser does not understand? The stack may understand it, so
 * it passes unless a policy would have had to judge it. A later fragment may pass: alone it is nothing.
 */
static __always_inline int gh_host_unreadable(const struct gh_party *host, __u16 enforced, int reason)
{
	return (host->flags & enforced) && reason != GH_DROP_FRAGMENT_UNKNOWN ? reason : TC_ACT_OK;
}

#endif
