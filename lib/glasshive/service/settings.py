"""What a cluster is told about services, and what a node knows of itself."""

from __future__ import annotations

from dataclasses import dataclass

from glasshive.errors import UsageError
from glasshive.model.address import Address

ALGORITHMS = ("random", "maglev")
MODES = ("snat", "dsr", "hybrid")
NO_BACKEND = ("reject", "drop")
TABLE_SIZES = (251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071)
"""Primes: sizes that Maglev tables may have."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Choices that hold for all services that do not choose themselves. UsageError for what is not allowed."""

    algorithm: str = "random"
    """For calls from outside: ``random`` or ``maglev``."""
    mode: str = "snat"
    """How a backend of another node answers a caller from outside: through this node (``snat``), or itself."""
    no_backend: str = "reject"
    """What a call of a service without backends gets: an answer (``reject``) or none (``drop``)."""
    table_size: int = 16381
    hash_seed: str = "JLfvgnHc2kaSUFaI"
    """12 bytes in base64: nodes with the same seed send a caller to the same backend."""
    external_cluster_ip: bool = False
    """Whether cluster addresses may be called from outside."""
    topology: bool = True
    """Whether hints of zones and nodes are followed."""

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("algorithm", self.algorithm, ALGORITHMS),
            ("mode", self.mode, MODES),
            ("no-backend response", self.no_backend, NO_BACKEND),
            ("Maglev table size", self.table_size, TABLE_SIZES),
        ):
            if value not in allowed:
                raise UsageError(f"services: {name} is {value!r}", hint=f"use {', '.join(map(str, allowed))}")


@dataclass(frozen=True, slots=True)
class NodeView:
    """The node for which tables are made."""

    name: str
    zone: str = ""
    ipv4: bool = True
    ipv6: bool = True
    answered_here: frozenset[Address] = frozenset()
    """Cluster addresses that a process of the node itself answers at: they are not translated."""
