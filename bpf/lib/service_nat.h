/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Which backend a connection to a service has. As with masquerade ports, what answers look for is what owns: the entry
 * GH_NAT_REPLY names one frontend for a pair of (backend, client), and is only inserted with BPF_NOEXIST, so that two
 * connections which would look alike between client and backend never get the same backend. GH_NAT_CALL remembers.
 */
#ifndef GLASSHIVE_LIB_SERVICE_NAT_H
#define GLASSHIVE_LIB_SERVICE_NAT_H

#include "lib/conntrack.h"
#include "lib/nat.h"
#include "lib/service.h"

static __always_inline void gh_call_key(struct gh_nat_key *key, const struct gh_packet *pkt)
{
	gh_nat_out_key(key, pkt);
	key->direction = GH_NAT_CALL;
}

/* The key of the answers to a call, once that goes to this backend. */
static __always_inline void gh_reply_key(struct gh_nat_key *key, const struct gh_packet *call,
					 const union gh_address *backend, __be16 port)
{
	*key = (struct gh_nat_key){ .src = *backend,
				    .dst = call->src,
				    .sport = port,
				    .dport = call->sport,
				    .protocol = call->protocol,
				    .direction = GH_NAT_REPLY };
}

/* What has the receiver of this packet called? The source that it expects, or NULL. */
static __always_inline const struct gh_nat_entry *gh_service_find_reply(const struct gh_packet *pkt)
{
	struct gh_nat_key key;

	gh_nat_out_key(&key, pkt);
	key.direction = GH_NAT_REPLY;
	return bpf_map_lookup_elem(&nat, &key);
}

/* Decision: would the call open a connection, if it went to this backend? Else its client speaks with that very port. */
GH_GLOBAL bool gh_service_opens(const struct gh_packet *call, const union gh_address *backend, __be16 port)
{
	const struct gh_ct_entry *entry;
	struct gh_ct_key key;
	bool from_high;

	if (!call || !backend)
		return true;
	from_high = gh_ct_key_to(&key, call, backend, port);
	entry = bpf_map_lookup_elem(&conntrack, &key);
	return !entry || gh_ct_classify(entry, call, from_high) == GH_CT_NEW;
}

/* Do these answers belong to the call's frontend? */
static __always_inline bool gh_is_called(const struct gh_nat_entry *frontend, const struct gh_packet *call)
{
	return frontend->port == call->dport && gh_address_equal(&frontend->addr, &call->dst);
}

enum gh_claim {
	GH_CLAIM_NEW, /* the call opens a connection there: what an ended one has left may be taken over */
	GH_CLAIM_KNOWN, /* the call's connection is there already, and what it had may be lost */
	GH_CLAIM_BUSY, /* its client speaks with that port: perhaps by this very connection */
};

/*
 * Decision: may the call's connection have this backend? If so, its answers are the call's from now on. how is of enum
 * gh_claim. Verifier: what that depends on is for the caller to find out, its stack would be too deep from here.
 */
GH_GLOBAL bool gh_service_claim(const struct gh_packet *call, const union gh_address *backend, __be16 port, __u32 how)
{
	const struct gh_nat_entry *owner;
	struct gh_nat_entry frontend = {};
	struct gh_nat_key key;

	if (!call || !backend)
		return false;
	gh_reply_key(&key, call, backend, port);
	owner = bpf_map_lookup_elem(&nat, &key);
	if (likely(owner && gh_is_called(owner, call)))
		return true;
	if (how == GH_CLAIM_BUSY)
		return false;
	frontend.addr = call->dst;
	frontend.port = call->dport;
	frontend.created_ns = bpf_ktime_get_coarse_ns();
	return !bpf_map_update_elem(&nat, &key, &frontend, owner && how == GH_CLAIM_NEW ? BPF_ANY : BPF_NOEXIST);
}

/* The connection of this call has that backend. */
GH_GLOBAL int gh_service_remember(const struct gh_packet *call, const union gh_address *backend, __be16 port,
				  __u32 number)
{
	struct gh_nat_entry entry = { .port = port, .backend = number };
	struct gh_nat_key key;

	if (!call || !backend)
		return 0;
	entry.addr = *backend;
	entry.created_ns = bpf_ktime_get_coarse_ns();
	gh_call_key(&key, call);
	bpf_map_update_elem(&nat, &key, &entry, BPF_ANY);
	return 0;
}

#endif
