"""A cluster as seen from outside: what ``status`` prints, what pictures are drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ran in a pod or on a node. Output is text; undecodable bytes are replaced."""

    returncode: int
    stdout: str = ""
    stderr: str = ""

    def __str__(self) -> str:
        return self.stdout


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One supervised process. ``rss_bytes`` is 0 when it does not live; times are ISO 8601.

    ``stopped``: on purpose, and so not restarted.
    """

    name: str
    role: str
    pid: int = 0
    alive: bool = False
    ready: bool = False
    rss_bytes: int = 0
    started_at: str = ""
    restarts: int = 0
    last_exit: str = ""
    last_exit_at: str = ""
    stopped: bool = False

    @property
    def condition(self) -> str:
        """One word for it: ready, starting, stopping, stopped or dead."""
        if self.stopped:
            return "stopping" if self.alive else "stopped"
        return "ready" if self.ready else "starting" if self.alive else "dead"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One Node object in short."""

    name: str
    ready: bool = False
    reason: str = ""
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    pods: int = 0


@dataclass(frozen=True, slots=True)
class PodStatus:
    """One Pod object in short. ``state`` is the word kubectl shows: the phase, or why a container waits."""

    name: str
    namespace: str
    node: str = ""
    state: str = ""
    ready: bool = False
    addresses: tuple[str, ...] = ()
    restarts: int = 0
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """All about one cluster. ``phase``: starting, ready, stopping, unsupervised (no supervisor) or down.

    ``cpu_seconds`` is what all its processes have used; ``memory_bytes`` what the supervised ones hold, shared pages
    counted once.
    """

    name: str
    phase: str
    routing: str = ""
    ip_families: tuple[str, ...] = ()
    api_server: str = ""
    kubeconfig: str = ""
    context: str = ""
    supervisor_pid: int = 0
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    processes: tuple[ProcessStatus, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()
    pods: tuple[PodStatus, ...] = ()
    events: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Topology:
    """Who is plugged in where: nodes on one fabric, pods on nodes, the world outside."""

    cluster: str
    routing: str
    nodes: tuple[NodeStatus, ...] = ()
    pods: tuple[PodStatus, ...] = ()
    world: tuple[str, ...] = ()

    def pods_on(self, node: str) -> tuple[PodStatus, ...]:
        """Pods of one node."""
        return tuple(pod for pod in self.pods if pod.node == node)
