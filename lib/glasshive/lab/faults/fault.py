"""What every fault is: a plan that changes nothing, a change, a look whether it is there, and the way back.

Faults act through a node's control paths, held in ``Hands``: commands in the node's namespace (as argument lists), its
pinned maps, its supervised processes, the Kubernetes API. Parameters are names that are looked up, never text that is
run.
"""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from glasshive.bpf import Map
from glasshive.cluster import Cluster
from glasshive.cluster.embedded.paths import BPFFS_ROOT, ClusterPaths
from glasshive.errors import ClusterError, NotFoundError, UsageError
from glasshive.lab.faults.truth import Truth
from glasshive.model.cluster import NodeStatus, PodStatus


class Hands:
    """How faults reach into a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.paths = ClusterPaths(cluster.name)

    def node(self, name: str) -> NodeStatus:
        """A node that exists."""
        for one in self.cluster.topology().nodes:
            if one.name == name:
                return one
        raise NotFoundError(f"cluster {self.cluster.name} has no node {name!r}")

    def pod(self, namespace: str, name: str) -> PodStatus:
        """A pod that exists and runs on a node."""
        for one in self.cluster.pods(namespace):
            if one.name == name and one.node and one.addresses:
                return one
        raise NotFoundError(f"namespace {namespace} has no pod {name!r} with an address")

    def map(self, node: str, name: str) -> Map:
        """A node's pinned map, to be written. The caller closes it."""
        return Map.open(self.pins(node) / "maps" / name)

    def pins(self, node: str) -> Path:
        """A node's folder of pins."""
        return BPFFS_ROOT / self.cluster.name / node

    def run(self, node: str, *argv: str) -> str:
        """Run a command in a node's network namespace. ClusterError with what it said when it fails."""
        done = self.cluster.node_exec(node, list(argv))
        if done.returncode:
            raise ClusterError(f"{node}: {' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def endpoint(self, pod: PodStatus) -> dict[str, Any]:
        """What a pod's node knows about it."""
        for row in self.cluster.backend.node_request(pod.node, "GET", "/v1/endpoints"):
            if (row["namespace"], row["pod"]) == (pod.namespace, pod.name):
                return dict(row)
        raise NotFoundError(f"{pod.node} has no endpoint for pod {pod.name}")

    def unused_underlay(self, node: NodeStatus) -> dict[str, str]:
        """For each family an address beside the node's own that no node has: ``{"ipv4": ..., "ipv6": ...}``."""
        taken = {address for one in self.cluster.topology().nodes for address in one.addresses}
        found = {}
        for own in node.addresses:
            address = ipaddress.ip_address(own)
            beside = next(one for step in range(100, 200) if (one := str(address + step)) not in taken)
            found["ipv6" if address.version == 6 else "ipv4"] = beside
        return found


class Fault(ABC):
    """One kind of fault. ``name`` is its id, ``params`` what ``plan`` is given, ``needs`` what must be there to see it.

    ``kept``: something of the cluster would mend it by itself (the agent compares its maps once a minute), so the
    keeper (``keeper``) applies it again until it is healed.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    params: ClassVar[tuple[str, ...]]
    defaults: ClassVar[Mapping[str, Any]] = {}
    needs: ClassVar[tuple[str, ...]] = ()
    kept: ClassVar[bool] = False

    @abstractmethod
    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """Work out what will be changed and what it is now. Changes nothing; errors name what does not exist."""

    @abstractmethod
    def apply(self, hands: Hands, truth: Truth) -> None:
        """Change it. May be called again."""

    @abstractmethod
    def present(self, hands: Hands, truth: Truth) -> bool:
        """Whether it is so."""

    @abstractmethod
    def undo(self, hands: Hands, truth: Truth) -> None:
        """Put back what was. May be called again, and when what was changed is gone meanwhile."""

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters with defaults. UsageError for unknown or missing ones."""
        unknown = sorted({*given} - {*self.params})
        if unknown:
            raise UsageError(f"fault {self.name} has no parameter {unknown[0]!r}", hint=", ".join(self.params))
        whole = {**self.defaults, **given}
        missing = [name for name in self.params if name not in whole]
        if missing:
            raise UsageError(f"fault {self.name} wants {', '.join(missing)}")
        return whole

    def truth(
        self, given: Mapping[str, Any], where: Mapping[str, Any], before: Mapping[str, Any], **words: str
    ) -> Truth:
        """Put a plan together."""
        key = "-".join(str(given[name]) for name in self.params)
        return Truth(
            f"{self.name}-{key}", self.name, self.title, words["cause"], words["symptom"], given, where, before
        )
