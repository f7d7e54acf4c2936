"""What a connectivity test is made of: places, checks between them, and what came out. Frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glasshive.model.check_result import Verdict


@dataclass(frozen=True)
class Place:
    """Where traffic starts or ends: a pod, a node, or the world outside. ``secret`` proves answers from there."""

    kind: str
    """``client`` and ``echo`` (pods), ``node`` or ``world``."""
    name: str
    node: str
    addresses: Mapping[str, str]
    """By family, ``ipv4`` and ``ipv6``."""
    port: int
    secret: str
    also: tuple[str, ...] = ()
    """Further addresses that this place may be seen with."""


@dataclass(frozen=True)
class Facts:
    """What is known about the cluster before the first probe."""

    families: tuple[str, ...]
    pod_mtu: int
    features: frozenset[str]
    free_addresses: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(node, family) -> an address of the node's pod pool that no pod has."""
    name_servers: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Service name -> family -> its address; for headless ones see ``headless``."""
    headless: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Family -> addresses behind the headless Service."""
    node_port: int = 0
    namespace: str = ""


@dataclass(frozen=True)
class Check:
    """One probe from one place, and what its answer must say."""

    test: str
    """Name of the row that it belongs to, such as ``pod-to-pod/other-node/tcp/ipv4``."""
    source: Place
    target: str
    """Who is meant, for people."""
    probe: Mapping[str, Any]
    provers: Sequence[Place] = ()
    """Places of which one must have proved to be the answerer; none: the probe's own success is enough."""
    seen_as: frozenset[str] = frozenset()
    """Addresses that the answerer may have seen as the source; none: any."""
    too_long: bool = False
    """The packet must be refused as too long, not be sent."""
    addresses: frozenset[str] | None = None
    """Addresses that a name must have."""
    code: int | None = None
    """The response code of a name server."""


@dataclass(frozen=True)
class Path:
    """One check's outcome. ``problem`` "" is a pass."""

    test: str
    source: str
    target: str
    problem: str
    ms: float = 0.0
    attempts: int = 1


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    test: str
    verdict: Verdict
    detail: str
    paths: tuple[Path, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """The whole test."""

    cluster: str
    namespace: str
    rows: tuple[Row, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(row.verdict in {Verdict.PASS, Verdict.SKIPPED} for row in self.rows)

    def count(self, verdict: Verdict) -> int:
        """Return the number of rows with that verdict."""
        return sum(row.verdict is verdict for row in self.rows)

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of the tests that failed."""
        return tuple(row.test for row in self.rows if row.verdict is Verdict.FAIL)
