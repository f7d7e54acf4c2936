"""What reading a policy object needs, and what comes out besides its rules.

Reading is pure: everything that is not in the object itself (services, CIDR groups, the cluster's own addresses) is in
``Lookups``. A ``Parsed`` says which of them were asked for, so that its caller reads the object again when one changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glasshive.model.address import Prefix
from glasshive.model.policy import Finding, ObjectRef, PolicyObject, Rule

Object = dict[str, Any]
ERROR, WARNING = "error", "warning"
EVERY = "*"
"""Name in a ``Use`` that stands for all objects of its kind (and namespace): a selector was asked for."""

NEEDS = {
    "l7": "rules for HTTP, Kafka, DNS and other protocols (they need a proxy)",
    "sni": "server names of TLS (they need a proxy)",
    "listener": "listeners of a proxy",
    "tls": "termination and origination of TLS (they need a proxy)",
    "fqdn": "peers by DNS name (they need a DNS proxy)",
    "groups": "groups of cloud providers",
    "authentication": "mutual authentication",
    "nodes": "peers by labels of nodes (enable-node-selector-labels)",
    "extended-protocols": "VRRP and IGMP (enable-extended-ip-protocols)",
}
"""What a need stands for, in words."""


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """Something outside of the object that its rules depend on; ``namespace`` "" is all of them."""

    kind: str
    namespace: str
    name: str

    def concerns(self, kind: str, namespace: str, name: str) -> bool:
        """Whether a change of that object may change the rules."""
        return kind == self.kind and self.namespace in ("", namespace) and self.name in (EVERY, name)


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What a policy needs of a Service. ``selector`` None: it has none, and ``addresses`` are its endpoints'."""

    labels: Mapping[str, str] = field(default_factory=dict)
    selector: Mapping[str, str] | None = None
    addresses: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class CidrGroupFacts:
    """Labels and prefixes of a CiliumCIDRGroup."""

    labels: Mapping[str, str] = field(default_factory=dict)
    prefixes: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class Lookups:
    """The cluster as far as policies refer to it.

    ``services`` are keyed by (namespace, name), ``cidr_groups`` by name. ``cluster_prefixes``: pod CIDRs and node
    addresses, None where nobody knows them (files without a cluster).
    """

    services: Mapping[tuple[str, str], ServiceFacts] = field(default_factory=dict)
    cidr_groups: Mapping[str, CidrGroupFacts] = field(default_factory=dict)
    cluster_prefixes: tuple[Prefix, ...] | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """Settings that decide what a policy may say.

    ``cluster`` names the cluster (entity ``cluster``); ``node_selectors`` allows fromNodes and toNodes
    (``enable-node-selector-labels``), ``extended_protocols`` VRRP and IGMP (``enable-extended-ip-protocols``).
    """

    cluster: str = "default"
    node_selectors: bool = False
    extended_protocols: bool = False


@dataclass(frozen=True, slots=True)
class Parsed:
    """A policy object, understood, and the ``uses`` after whose change it has to be read again."""

    policy: PolicyObject
    uses: frozenset[Use] = frozenset()
    sound: tuple[Rule, ...] = ()
    """The rules that have no fault of their own, also those of an object that is refused: more can be said of them."""

    @property
    def valid(self) -> bool:
        """Whether it may be enforced."""
        return all(one.severity != ERROR for one in self.policy.findings)


NO_LOOKUPS = Lookups()
DEFAULTS = Options()


class Reading:
    """One object being read: collects findings and uses.

    What follows from an earlier finding is not said again: places ``doubt`` has named are passed over in silence.
    """

    __slots__ = ("_doubts", "findings", "lookups", "namespace", "options", "ref", "spelled", "uses")

    def __init__(self, ref: ObjectRef, lookups: Lookups = NO_LOOKUPS, options: Options = DEFAULTS) -> None:
        self.ref = ref
        self.namespace = ref.namespace
        self.lookups = lookups
        self.options = options
        self.findings: list[Finding] = []
        self.uses: set[Use] = set()
        self.spelled: dict[str, str] = {}
        """Paths of fields, as they should be, and as somebody has misspelled them."""
        self._doubts: set[str] = set()

    def error(self, path: str, message: str) -> None:
        """The object is refused because of this."""
        self._find(ERROR, path, message)

    def misshapen(self, path: str, message: str, doubt: str = "") -> None:
        """The same; and what is there (or at ``doubt``) is something else from here on, which nobody has written."""
        self.error(path, message)
        self._doubts.add(doubt or path)

    def warn(self, path: str, message: str) -> None:
        """The object is enforced, and its author should know this."""
        self._find(WARNING, path, message)

    def lacks(self, path: str, need: str, *, deny: bool = False) -> None:
        """A part that cannot be enforced here. A rule that refuses may not lose a part: it is refused itself."""
        words = NEEDS[need]
        if deny:
            self.error(path, f"cannot be enforced here, and a rule that refuses may not be enforced in part: {words}")
        else:
            self.warn(path, f"not enforced here: {words}. What the rule would allow stays refused")

    def doubt(self, path: str) -> None:
        """Nobody knows what is meant at ``path``."""
        self._doubts.add(path)

    def doubts(self, path: str) -> bool:
        """Whether ``path`` is, or lies in, something that nobody has written as it is read."""
        return any(below(path, one) for one in self._doubts)

    def at_fault(self, path: str) -> bool:
        """Whether something is wrong at ``path`` or in it, so that what is missing there may be what was meant."""
        written = self._written(path)
        return any(one.severity == ERROR and below(one.path, written) for one in self.findings)

    @property
    def failed(self) -> bool:
        """Whether there is an error so far."""
        return any(one.severity == ERROR for one in self.findings)

    def _find(self, severity: str, path: str, message: str) -> None:
        if not self.doubts(path):
            self.findings.append(Finding(severity, self._written(path), message))

    def _written(self, path: str) -> str:
        for meant, written in self.spelled.items():
            if below(path, meant):
                path = written + path[len(meant) :]
        return path


def below(path: str, outer: str) -> bool:
    """Whether ``path`` is ``outer`` or lies in it."""
    return path.startswith(outer) and path[len(outer) : len(outer) + 1] in ("", ".", "[")
