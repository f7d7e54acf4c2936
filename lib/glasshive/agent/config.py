"""What an agent is told at its start. Everything else it learns from the API and from the kernel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import glasshive
from glasshive.errors import UsageError
from glasshive.service.settings import ServiceSettings

Routing = Literal["native", "tunnel"]
DATAPLANES = ("ebpf", "iptables", "nftables")
"""What carries a node's packets: our programs, or the kernel's routes and kube-proxy's rules in either form."""
BPFFS = Path("/sys/fs/bpf/glasshive")


def objects_directory() -> Path:
    """Where the datapath objects are: GLASSHIVE_OBJECTS if set, else ``bpf/build`` of the source tree."""
    told = os.environ.get("GLASSHIVE_OBJECTS")
    return Path(told) if told else Path(glasshive.__file__).resolve().parents[2] / "bpf" / "build"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """``run_dir`` is the cluster's (RUN); the node's files live below it. CIDRs are text, IPv4 first."""

    cluster: str
    node: str
    run_dir: Path
    routing: Routing = "native"
    dataplane: str = "ebpf"
    ip_families: tuple[str, ...] = ("ipv4", "ipv6")
    pod_cidrs: tuple[str, ...] = ("10.244.0.0/16", "fd00:10:244::/48")
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16", "fd00:10:96::/112")
    host_services: tuple[str, ...] = ()
    """Service addresses that a process of the node itself answers at, such as the cluster's name service."""
    labels: tuple[str, ...] = ()
    """Which labels make identities, beside the usual ones (``identity.labels.LabelFilter``)."""
    policy_enforcement: str = "default"
    """Whom policy is enforced for: ``default``, ``always``, ``never``. See ``agent.policy.settings`` for the rest."""
    policy_audit: bool = False
    policy_cidr_match_mode: str = ""
    """``nodes``: CIDR rules also mean nodes."""
    allow_localhost: str = "auto"
    """``policy``: the node's own processes need a rule to reach its pods."""
    services: ServiceSettings = field(default_factory=ServiceSettings)
    mtu: int = 1500
    device: str = "eth0"
    masquerade: bool = True
    l2_lease_seconds: tuple[float, float, float] = (15.0, 5.0, 2.0)
    """L2 announcements: how long a silent holder is waited for, how long it tries to prolong, pace of attempts."""
    cgroup: Path | None = None
    """The node's cgroup (v2): its processes and pods are below, and their calls of services are translated there."""
    bpffs: Path = BPFFS
    objects: Path = field(default_factory=objects_directory)
    map_entries: Mapping[str, int] = field(default_factory=dict)
    """Sizes of maps that differ from what the objects say, by map name."""

    def __post_init__(self) -> None:
        if self.routing not in ("native", "tunnel"):
            raise UsageError(f"routing is {self.routing!r}", hint="use native or tunnel")
        if self.dataplane not in DATAPLANES:
            raise UsageError(f"dataplane is {self.dataplane!r}", hint=f"use {', '.join(DATAPLANES)}")
        if not set(self.ip_families) or not set(self.ip_families) <= {"ipv4", "ipv6"}:
            raise UsageError(f"IP families are {', '.join(self.ip_families) or 'empty'}", hint="use ipv4, ipv6 or both")

    @property
    def tunnel(self) -> bool:
        """Whether pods of other nodes are reached through VXLAN."""
        return self.routing == "tunnel"

    @property
    def dual_stack(self) -> bool:
        """Whether the cluster has both address families."""
        return len(set(self.ip_families)) == 2

    @property
    def node_dir(self) -> Path:
        """The node's own run directory."""
        return self.run_dir / "nodes" / self.node

    @property
    def endpoints_file(self) -> Path:
        """Journal of the node's endpoints."""
        return self.node_dir / "endpoints.jsonl"

    @property
    def pins(self) -> Path:
        """The node's bpffs directory, with ``maps``, ``progs`` and ``links``."""
        return self.bpffs / self.cluster / self.node

    @property
    def api_socket(self) -> Path:
        """The embedded API server's socket."""
        return self.run_dir / "api.sock"

    @property
    def node_socket(self) -> Path:
        """Where the node process serves CNI and the agent's views."""
        return self.node_dir / "node.sock"
