"""What a cluster can be made of. At most ten methods; ``Cluster`` does the rest through the Kubernetes API.

``embedded.backend`` is the one that exists: network namespaces on this machine. A kind cluster, or any kubeconfig, is
another implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from glasshive.cluster.progress import Progress
from glasshive.kube.endpoint import ApiEndpoint
from glasshive.model.cluster import ClusterStatus, Completed


class Process(Protocol):
    """A process that makes the cluster work: its log, and its switch, for labs and demonstrations."""

    @property
    def log(self) -> str:
        """Path of its log file."""

    def stop(self, *, kill: bool = False) -> None:
        """Have it end, at once with ``kill``, and stay ended; returns when it has. Raises ClusterError."""

    def start(self) -> None:
        """Start it again if it was stopped; returns when it is ready. Raises ClusterError, DeadlineError."""


class Backend(Protocol):
    """One cluster of one kind, bound to its name."""

    def up(self, follow: Callable[[Progress], None], timeout: float) -> None:
        """Bring the cluster up; return when all nodes are ready. Leaves nothing behind when it raises."""

    def down(self) -> bool:
        """Remove the cluster and everything it owns; False if there was nothing."""

    def status(self) -> ClusterStatus:
        """State of processes, without asking the Kubernetes API. Raises NotFoundError if there is no such cluster."""

    def api(self) -> ApiEndpoint:
        """Return how to reach the Kubernetes API."""

    def kubeconfig(self) -> str:
        """Return the path of a kubeconfig file for kubectl."""

    def node_request(self, node: str, method: str, path: str, body: Any = None, *, timeout: float = 30.0) -> Any:
        """Ask a node's agent over HTTP; the decoded JSON answer. Raises NotFoundError, ClusterError."""

    def node_exec(self, node: str, argv: Sequence[str], *, stdin: str, timeout: float) -> Completed:
        """Run a command in the node's network namespace; node ``world`` is the place outside the cluster."""

    def node_survey(self, node: str, what: str) -> list[dict[str, Any]]:
        """Rows of ``devices``, ``routes`` or ``neighbours`` of a node, as ``net.survey`` describes them."""

    def node_command(self, node: str, argv: Sequence[str]) -> None:
        """Replace this process by a command in the node's network namespace, for terminals."""

    def process(self, name: str) -> Process:
        """Return one of the cluster's own processes, by its name in ``status``. Raises NotFoundError."""
