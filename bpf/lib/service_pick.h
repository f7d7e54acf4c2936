/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* A call's backend: the one its connection has, or one that it gets now. */
#ifndef GLASSHIVE_LIB_SERVICE_PICK_H
#define GLASSHIVE_LIB_SERVICE_PICK_H

#include "lib/affinity.h"
#include "lib/service_choice.h"
#include "lib/service_nat.h"

/* A backend's end. */
struct gh_service_end {
	union gh_address addr;
	__be16 port;
	__u16 local; /* it lives on this node */
	__u32 number;
};

static __always_inline bool gh_is_backend(const struct gh_nat_entry *entry, const struct gh_backend *backend)
{
	return backend->port == entry->port && gh_address_equal(&backend->addr, &entry->addr);
}

/*
 * Decision: does the call belong to a connection that has a backend, and may it keep it? *to is that backend.
 * A connection that is only being opened, again perhaps, wants a backend that takes new ones.
 * Returns TC_ACT_OK; TC_ACT_UNSPEC: it may have any backend; or GH_DROP_NO_BACKEND: it has lost its own for good.
 */
GH_GLOBAL int gh_service_recall(const struct gh_packet *call, struct gh_service_end *to)
{
	const struct gh_backend *backend;
	const struct gh_nat_entry *known;
	struct gh_nat_key key;

	if (!call || !to)
		return GH_DROP_INVALID_PACKET;
	gh_call_key(&key, call);
	known = bpf_map_lookup_elem(&nat, &key);
	if (!known)
		return TC_ACT_UNSPEC;
	to->addr = known->addr;
	to->port = known->port;
	to->number = known->backend;
	backend = gh_backend_of(to->number);
	if (unlikely(!backend || backend->state == GH_BACKEND_GONE || !gh_is_backend(known, backend)))
		return call->protocol == IPPROTO_UDP || gh_ct_is_opening(call) ? TC_ACT_UNSPEC : GH_DROP_NO_BACKEND;
	to->local = backend->flags & GH_BACKEND_LOCAL;
	if ((unlikely(backend->state != GH_BACKEND_ACTIVE) || gh_ct_is_opening(call)) &&
	    gh_service_opens(call, &to->addr, to->port))
		return TC_ACT_UNSPEC;
	return gh_service_claim(call, &to->addr, to->port, GH_CLAIM_KNOWN) ? TC_ACT_OK : TC_ACT_UNSPEC;
}

/* Let the call's connection have this backend, if it may. */
static __always_inline bool gh_service_take(const struct gh_packet *call, struct gh_service_end *to, __u32 number)
{
	const struct gh_backend *backend = gh_backend_of(number);

	if (!backend)
		return false;
	to->addr = backend->addr;
	to->port = backend->port;
	to->local = backend->flags & GH_BACKEND_LOCAL;
	to->number = number;
	return gh_service_claim(call, &to->addr, to->port,
				gh_service_opens(call, &to->addr, to->port) ? GH_CLAIM_NEW : GH_CLAIM_BUSY);
}

/*
 * Decision: which backend does a new connection get? Returns TC_ACT_OK with *to filled in; GH_DROP_NO_BACKEND; or
 * GH_DROP_NAT_COLLISION: all that were tried speak with the client's port already.
 */
GH_GLOBAL int gh_service_settle(const struct gh_packet *call, const struct gh_frontend *frontend, __u32 scope,
				struct gh_service_end *to)
{
	int verdict = GH_DROP_NO_BACKEND;
	__u32 number;

	if (!call || !frontend || !to)
		return GH_DROP_INVALID_PACKET;
	if (frontend->flags & GH_FRONTEND_AFFINITY) {
		number = gh_affinity_recall(&call->src, frontend);
		if (number && gh_service_take(call, to, number))
			verdict = TC_ACT_OK;
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < GH_CHOICE_TRIES && verdict != TC_ACT_OK; i++) {
		number = gh_service_choose(frontend, call, scope, i);
		if (number)
			verdict = gh_service_take(call, to, number) ? TC_ACT_OK : GH_DROP_NAT_COLLISION;
	}
	if (verdict != TC_ACT_OK)
		return verdict;
	if (frontend->flags & GH_FRONTEND_AFFINITY)
		gh_affinity_remember(&call->src, frontend, to->number);
	gh_service_remember(call, &to->addr, to->port, to->number);
	return TC_ACT_OK;
}

#endif
