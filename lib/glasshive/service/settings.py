"""What a cluster is told about services, and what a node knows of itself."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from glasshive.errors import UsageError
from glasshive.model.address import Address

ALGORITHMS = ("random", "maglev")
MODES = ("snat", "dsr", "hybrid")
NO_BACKEND = ("reject", "drop")
SEED_BYTES = 12
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
        for key, allowed in _ALLOWED.items():
            value = getattr(self, FIELDS[key])
            if value not in allowed or isinstance(value, bool) != (allowed == _SWITCH):
                words = ", ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in allowed)
                raise UsageError(f"services.{key}: {value!r} is not allowed; allowed: {words}")
        try:
            seed_of(self.hash_seed)
        except UsageError as error:
            raise UsageError(f"services.hashSeed: {self.hash_seed!r} is not allowed; {error.message}") from None

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> Self:
        """Read what a configuration says, by the names of ``FIELDS``. UsageError names the field."""
        if not isinstance(given, Mapping):
            raise UsageError(f"services: {given!r} is not allowed; allowed: a map of {', '.join(FIELDS)}")
        for key in given:
            if key not in FIELDS:
                raise UsageError(f"services.{key}: no such field; allowed: {', '.join(FIELDS)}")
        return cls(**{FIELDS[key]: value for key, value in given.items()})


FIELDS = {
    "algorithm": "algorithm",
    "mode": "mode",
    "noBackendResponse": "no_backend",
    "maglevTableSize": "table_size",
    "hashSeed": "hash_seed",
    "externalClusterIP": "external_cluster_ip",
    "topology": "topology",
}
"""Field of a configuration -> field of ``ServiceSettings``."""
_SWITCH = (True, False)
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "algorithm": ALGORITHMS,
    "mode": MODES,
    "noBackendResponse": NO_BACKEND,
    "maglevTableSize": TABLE_SIZES,
    "externalClusterIP": _SWITCH,
    "topology": _SWITCH,
}


def seed_of(text: object) -> bytes:
    """A hash seed of its base64 form; UsageError when that is not 12 bytes."""
    try:
        raw = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != SEED_BYTES:
        raise UsageError(f"{text!r} is not 12 bytes in base64", hint="head -c12 /dev/urandom | base64")
    return raw


@dataclass(frozen=True, slots=True)
class NodeView:
    """The node for which tables are made."""

    name: str
    zone: str = ""
    ipv4: bool = True
    ipv6: bool = True
    answered_here: frozenset[Address] = frozenset()
    """Cluster addresses that a process of the node itself answers at: they are not translated."""
