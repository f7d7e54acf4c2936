"""Where an embedded cluster keeps what: the one place that spells paths and namespace names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN_ROOT = Path("/run/glasshive")
NETNS_ROOT = Path("/run/netns")
BPFFS_ROOT = Path("/sys/fs/bpf/glasshive")
_CLUSTER_FILE = "cluster.json"


def cgroup_mount() -> Path:
    """Mount point of cgroup v2: /sys/fs/cgroup, or /sys/fs/cgroup/unified on hybrid hosts."""
    return _cgroup_mounts()[0] if cgroup_is_mounted() else Path("/sys/fs/cgroup")


def cgroup_is_mounted() -> bool:
    """Whether there is a cgroup v2 anywhere: without, its place is an ordinary folder that would take any file."""
    return bool(_cgroup_mounts())


def _cgroup_mounts() -> list[Path]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [Path(line.split()[4]) for line in lines if " - cgroup2 " in line]


def cluster_names() -> list[str]:
    """Names of all clusters that left a run directory, whether they live or not."""
    try:
        return sorted(p.name for p in RUN_ROOT.iterdir() if p.is_dir())
    except FileNotFoundError:
        return []


@dataclass(frozen=True)
class ClusterPaths:
    """Paths and names of one cluster."""

    cluster: str

    @property
    def run(self) -> Path:
        """The run directory, mode 0700."""
        return RUN_ROOT / self.cluster

    @property
    def cluster_file(self) -> Path:
        """The configuration and the chosen addresses, as JSON."""
        return self.run / _CLUSTER_FILE

    @property
    def state_file(self) -> Path:
        """The supervisor's account of its processes, as JSON; see ``state``."""
        return self.run / "state.json"

    @property
    def lock_file(self) -> Path:
        """Held with flock(2) by ``up``, then by the supervisor, as long as it lives."""
        return self.run / "lock"

    @property
    def inventory_file(self) -> Path:
        """What the cluster owns."""
        return self.run / "inventory.jsonl"

    @property
    def supervisor_socket(self) -> Path:
        """The supervisor's control socket."""
        return self.run / "supervisor.sock"

    @property
    def api_socket(self) -> Path:
        """The API server's unix socket, mode 0600."""
        return self.run / "api.sock"

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig, mode 0600."""
        return self.run / "kubeconfig"

    @property
    def token(self) -> Path:
        """Bearer token, mode 0600."""
        return self.run / "token"

    @property
    def ca_cert(self) -> Path:
        """Certificate of the cluster's own authority."""
        return self.run / "ca.crt"

    @property
    def server_cert(self) -> Path:
        """The API server's certificate."""
        return self.run / "server.crt"

    @property
    def server_key(self) -> Path:
        """The API server's key, mode 0600."""
        return self.run / "server.key"

    @property
    def store(self) -> Path:
        """The API server's SQLite file."""
        return self.run / "store.db"

    @property
    def logs(self) -> Path:
        """Directory of the processes' log files."""
        return self.run / "log"

    def log(self, process: str) -> Path:
        """Log file of one process."""
        return self.logs / f"{process}.log"

    def node(self, node: str) -> Path:
        """Directory of one node."""
        return self.run / "nodes" / node

    def node_socket(self, node: str) -> Path:
        """A node's HTTP socket, mode 0600."""
        return self.node(node) / "node.sock"

    @property
    def bpffs(self) -> Path:
        """Directory of the cluster's pins."""
        return BPFFS_ROOT / self.cluster

    @property
    def cgroup(self) -> Path:
        """The cluster's cgroup; its leaves hold the processes."""
        return cgroup_mount() / "glasshive" / self.cluster

    @property
    def control_cgroup(self) -> Path:
        """cgroup of the supervisor and the control plane."""
        return self.cgroup / "control"

    def node_cgroup(self, node: str) -> Path:
        """cgroup of a node: socket programs attach here; agent and pods live in groups below."""
        return self.cgroup / node

    @property
    def fabric_netns(self) -> str:
        """Namespace of the bridge between the nodes."""
        return f"gh-{self.cluster}-fabric"

    @property
    def world_netns(self) -> str:
        """Namespace outside the cluster."""
        return f"gh-{self.cluster}-world"

    def node_netns(self, node: str) -> str:
        """A node's namespace."""
        return f"gh-{self.cluster}-{node}"

    def all_netns(self, nodes: list[str]) -> Iterator[str]:
        """The namespaces the fabric consists of."""
        yield self.fabric_netns
        yield self.world_netns
        yield from (self.node_netns(node) for node in nodes)
