"""Who has which address: node blocks cut from the cluster's pools, and pod addresses from a node's block.

No I/O anywhere in this package. ``ClusterPool`` is used by the operator (node.spec.podCIDRs), ``NodePool`` by the agent
of each node (CNI ADD and DEL). What is taken is stored by their users and given back with ``restore`` after a restart.
"""

from glasshive.ipam.cluster_pool import ClusterPool
from glasshive.ipam.node_pool import NodePool, PodAddresses

__all__ = ["ClusterPool", "NodePool", "PodAddresses"]
