/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* L2 announcements: addresses of services that this node answers for on its network. */
#ifndef GLASSHIVE_TYPES_L2_RESPONDER_H
#define GLASSHIVE_TYPES_L2_RESPONDER_H

#include "address.h"

/* Key of the hash "l2_responders". */
struct gh_l2_responder_key {
	union gh_address addr;
	__u32 ifindex; /* of the device that the question comes in by */
	__u32 pad;
};

struct gh_l2_responder {
	__u64 responses_sent;
};

/* Value of the array of one "l2_term". An agent that is dead must not go on answering beside its successor. */
struct gh_l2_term {
	__u64 until_ns; /* CLOCK_MONOTONIC; the agent moves it on while it works */
};

#endif
