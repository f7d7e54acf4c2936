/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The two ends of a packet as policy sees them. */
#ifndef GLASSHIVE_LIB_PARTY_H
#define GLASSHIVE_LIB_PARTY_H

#include "lib/endpoint.h"
#include "lib/ipcache.h"
#include "lib/packet.h"

struct gh_party {
	__u32 identity; /* 0: to be asked of ipcache when it matters */
	__u32 policy;
	__u16 flags; /* enum gh_endpoint_flags; 0 for who does not live on this node */
	__u16 endpoint;
};

struct gh_parties {
	struct gh_party src;
	struct gh_party dst;
};

/*
 * A local end. Policy and flags are taken by one load right after the look-up: the agent replaces an endpoint's value
 * as a whole, so the two always belong together, and the element cannot have been given to another endpoint yet.
 */
static __always_inline void gh_party_of(struct gh_party *party, const struct gh_endpoint *ep)
{
	union {
		__u64 word;
		struct {
			__u16 id;
			__u16 flags;
			__u32 policy;
		};
	} now;

	_Static_assert(__builtin_offsetof(struct gh_endpoint, id) % 8 == 0, "one aligned word");
	_Static_assert(__builtin_offsetof(struct gh_endpoint, policy) == __builtin_offsetof(struct gh_endpoint, id) + 4,
		       "in this order");
	now.word = *(const volatile __u64 *)&ep->id;
	party->identity = ep->identity;
	party->policy = now.policy;
	party->flags = now.flags;
	party->endpoint = now.id;
}

static __always_inline void gh_party_find(struct gh_party *party, const union gh_address *addr)
{
	const struct gh_endpoint *ep = gh_endpoint_find(addr);

	if (ep)
		gh_party_of(party, ep);
}

static __always_inline bool gh_party_is_host(const struct gh_party *party)
{
	return party->flags & GH_ENDPOINT_HOST;
}

static __always_inline bool gh_is_world(__u32 identity)
{
	return identity == GH_IDENTITY_UNKNOWN || identity == GH_IDENTITY_WORLD || identity == GH_IDENTITY_WORLD_IPV4 ||
	       identity == GH_IDENTITY_WORLD_IPV6;
}

/* The identity of whom nobody knows. Dual stack tells the families apart. */
static __always_inline __u32 gh_world_identity(bool ipv6)
{
	if ((node_config.flags & (GH_NODE_IPV4 | GH_NODE_IPV6)) != (GH_NODE_IPV4 | GH_NODE_IPV6))
		return GH_IDENTITY_WORLD;
	return ipv6 ? GH_IDENTITY_WORLD_IPV6 : GH_IDENTITY_WORLD_IPV4;
}

/*
 * Decision: which identity has an end that is not on this node? known: what ipcache says, or 0. Whoever claims one of
 * the node's own addresses from outside is a stranger.
 */
static __always_inline __u32 gh_remote_identity(__u32 known, bool ipv6)
{
	return known == GH_IDENTITY_UNKNOWN || known == GH_IDENTITY_HOST ? gh_world_identity(ipv6) : known;
}

#endif
