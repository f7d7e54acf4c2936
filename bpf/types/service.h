/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Services: frontends that clients call, the backends that answer, and who has been sent where. */
#ifndef GLASSHIVE_TYPES_SERVICE_H
#define GLASSHIVE_TYPES_SERVICE_H

#include "address.h"

enum gh_frontend_type {
	GH_FRONTEND_CLUSTER_IP = 1,
	GH_FRONTEND_NODE_PORT = 2,
	GH_FRONTEND_EXTERNAL_IP = 3,
	GH_FRONTEND_LOAD_BALANCER = 4,
	GH_FRONTEND_HOST_PORT = 5,
	GH_FRONTEND_LOCAL_REDIRECT = 6,
};

enum gh_frontend_flags {
	GH_FRONTEND_AFFINITY = 1, /* a client returns to the backend it had, see affinity_s */
	GH_FRONTEND_SOURCE_RANGES = 2, /* calls from outside: only from "source_ranges" */
	GH_FRONTEND_SOURCE_DENY = 4, /* with SOURCE_RANGES: from everywhere but those */
	GH_FRONTEND_EXTERNAL_LOCAL = 8, /* externalTrafficPolicy Local: the client's address is kept */
	GH_FRONTEND_INTERNAL_LOCAL = 16, /* internalTrafficPolicy Local */
	GH_FRONTEND_DSR = 32, /* a backend of another node answers the client itself */
	GH_FRONTEND_REJECT = 64, /* without a backend: answer with a reset or an ICMP error; else drop */
	GH_FRONTEND_ROUTABLE = 128, /* may be called from outside the cluster */
	GH_FRONTEND_MAGLEV = 256, /* calls from outside choose by their hash from the set's table */
};

/* From where a frontend is called: the two may see different backends (traffic policies). */
enum gh_service_scope {
	GH_SCOPE_INTERNAL = 0, /* by a pod or a process of the cluster */
	GH_SCOPE_EXTERNAL = 1, /* from outside the cluster, through this node */
	GH_SCOPES = 2,
};

/*
 * Key of the hash "frontends". An address that is zero (in IPv4: v4-mapped 0.0.0.0) stands for any address of a node:
 * that is where NodePorts are, and HostPorts without an address.
 */
struct gh_frontend_key {
	union gh_address addr;
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP, _UDP or _SCTP */
	__u8 pad[5];
};

/* The backends to choose from: backend_slots[first] to [first + count - 1], numbers of backends, some more than once. */
struct gh_backend_set {
	__u32 first;
	__u32 count; /* 0: no backend */
	__u32 table; /* number of its Maglev table in "maglev_tables", 0: none */
};

/* Value of "frontends", replaced as a whole: a packet sees the old set of backends or the new one. */
struct gh_frontend {
	struct gh_backend_set sets[GH_SCOPES];
	__u32 id; /* of this frontend on this node, from 1; the revNAT index of the field */
	__u32 affinity_s; /* how long an idle client is remembered */
	__u16 flags; /* enum gh_frontend_flags */
	__u8 type; /* enum gh_frontend_type */
	__u8 pad[5];
};

enum gh_backend_state {
	GH_BACKEND_ACTIVE = 0,
	GH_BACKEND_TERMINATING = 1, /* keeps its connections, gets no new ones */
	GH_BACKEND_QUARANTINED = 2, /* not ready */
	GH_BACKEND_MAINTENANCE = 3, /* weight 0 */
	GH_BACKEND_GONE = 4, /* removed: its connections are sent elsewhere or cut, its number rests */
};

enum gh_backend_flags {
	GH_BACKEND_LOCAL = 1, /* lives on this node */
};

/*
 * Value of the array "backends"; the index is the backend's number, 0 is nobody. Mapped into the agent. A number that
 * became free rests until no connection can refer to it any more.
 */
struct gh_backend {
	union gh_address addr;
	__be16 port;
	__u8 protocol;
	__u8 state; /* enum gh_backend_state */
	__u8 flags; /* enum gh_backend_flags */
	__u8 zone; /* number of its zone, 0: none */
	__u16 weight;
};

#define GH_MAGLEV_ROW_SLOTS 16

/* Element of a Maglev table, an inner map of "maglev_tables": numbers of backends. Slot n is in row n / 16. */
struct gh_maglev_row {
	__u32 backends[GH_MAGLEV_ROW_SLOTS];
};

/* Key of the LRU hash "affinity". */
struct gh_affinity_key {
	union gh_address client; /* a source address, or { network namespace's cookie, ~0 } for local sockets */
	__u32 frontend; /* gh_frontend.id */
	__u32 pad;
};

struct gh_affinity {
	__u64 used_ns; /* CLOCK_MONOTONIC_COARSE */
	__u32 backend;
	__u32 pad;
};

/* Key of the LPM trie "source_ranges"; prefixlen counts the frontend's 32 bits and those of the address. */
struct gh_source_range_key {
	__u32 prefixlen;
	__u32 frontend; /* gh_frontend.id */
	union gh_address addr;
} __attribute__((packed));

/* Key of the LRU hash "socket_peers": to whom a local socket really speaks. */
struct gh_socket_peer_key {
	__u64 cookie; /* of the socket */
	union gh_address addr; /* the backend's */
	__be16 port;
	__u8 protocol;
	__u8 pad[5];
};

/* What the application believes to speak to. */
struct gh_socket_peer {
	union gh_address addr; /* the frontend's, as it was called */
	__be16 port;
	__u16 pad;
	__u32 frontend; /* gh_frontend.id */
	__u32 backend;
	__u32 pad2;
};

#endif
