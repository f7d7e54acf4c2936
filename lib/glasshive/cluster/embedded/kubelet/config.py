"""What the kubelet is told at its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class KubeletConfig:
    """One node's kubelet. ``addresses`` are the node's, ``dns_addresses`` those of the cluster's name service."""

    cluster: str
    node: str
    node_dir: Path
    """RUN/nodes/<node>; holds ``pods``, ``zygote.sock`` and ``node.sock``."""
    pods_cgroup: Path
    addresses: tuple[str, ...] = ()
    dns_addresses: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    labels: Mapping[str, str] = field(default_factory=dict)
    max_pods: int = 250

    @property
    def pods_dir(self) -> Path:
        """One directory per pod, named by uid."""
        return self.node_dir / "pods"

    @property
    def node_socket(self) -> Path:
        """Where the node process answers."""
        return self.node_dir / "node.sock"
