/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Reserved security identities, with the numbers the field uses. Cluster-wide ones begin at 256. */
#ifndef GLASSHIVE_TYPES_IDENTITY_H
#define GLASSHIVE_TYPES_IDENTITY_H

enum gh_identity {
	GH_IDENTITY_UNKNOWN = 0,
	GH_IDENTITY_HOST = 1,
	GH_IDENTITY_WORLD = 2,
	GH_IDENTITY_UNMANAGED = 3,
	GH_IDENTITY_HEALTH = 4,
	GH_IDENTITY_INIT = 5,
	GH_IDENTITY_REMOTE_NODE = 6,
	GH_IDENTITY_KUBE_APISERVER = 7,
	GH_IDENTITY_INGRESS = 8,
	GH_IDENTITY_WORLD_IPV4 = 9,
	GH_IDENTITY_WORLD_IPV6 = 10,
	GH_IDENTITY_CLUSTER_MIN = 256,
};

/* Highest byte of an identity that is not the cluster's. */
enum gh_identity_scope {
	GH_IDENTITY_SCOPE_LOCAL = 1, /* a CIDR's, which this node alone knows */
	GH_IDENTITY_SCOPE_REMOTE_NODE = 2, /* one other node's */
};

#endif
