/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * User space reads enums from the object's BTF, but the compiler only writes down types that something has. This
 * variable has them. It lies in a section of its own that loaders skip, as they do with the licence.
 */
#ifndef GLASSHIVE_LIB_ABI_H
#define GLASSHIVE_LIB_ABI_H

#include "lib/bpf.h"
#include "types/conntrack.h"
#include "types/endpoint.h"
#include "types/identity.h"
#include "types/ipcache.h"
#include "types/nat.h"
#include "types/policy.h"
#include "types/record.h"
#include "types/service.h"

struct gh_abi {
	enum gh_ct_flags ct_flags;
	enum gh_ct_state ct_state;
	enum gh_ct_timeout ct_timeout;
	enum gh_direction direction;
	enum gh_drop_reason drop_reason;
	enum gh_endpoint_flags endpoint_flags;
	enum gh_backend_flags backend_flags;
	enum gh_backend_state backend_state;
	enum gh_frontend_flags frontend_flags;
	enum gh_frontend_type frontend_type;
	enum gh_identity identity;
	enum gh_identity_scope identity_scope;
	enum gh_ipcache_flags ipcache_flags;
	enum gh_nat_direction nat_direction;
	enum gh_nat_flags nat_flags;
	enum gh_node_flags node_flags;
	enum gh_policy_key policy_key;
	enum gh_policy_match policy_match;
	enum gh_policy_revision policy_revision;
	enum gh_policy_value policy_value;
	enum gh_policy_verdict policy_verdict;
	enum gh_record_flags record_flags;
	enum gh_record_type record_type;
	enum gh_service_scope service_scope;
	struct gh_record record;
};

const struct gh_abi gh_abi SEC("abi") = {};

#endif
