"""Network policy as values: what objects of every kind become, and what the kernel's tables are made of.

``api`` turns a CiliumNetworkPolicy, a NetworkPolicy or a ClusterNetworkPolicy into one ``PolicyObject`` of ``Rule``
values; ``policy`` resolves rules into rows for ``policy_peers`` and ``policy_ports`` (``bpf/types/policy.h``); nobody
behind ``api`` knows which kind of object a rule came from, except to name it.

How a packet of one direction is judged (reference/features.md, 2.6 and 2.7), for one subject:

1. Admin tier, by ``(priority, order)``: the first rule that matches decides; PASS leaves the decision to 2.
2. Normal tier: a matching DENY refuses, whatever allows; else a matching ALLOW allows; else, if the subject is under
   default deny in this direction, refuse.
3. Only if nothing of 2 says default deny: Baseline tier, by ``(priority, order)``: the first that matches decides.
4. Else allow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from glasshive.model.address import Prefix
from glasshive.model.labels import SOURCE_ANY, Label

PROTOCOL_ANY = 0
ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
PORT_MAX = 65_535


class Direction(StrEnum):
    """Seen from the endpoint: what it receives is ingress, what it sends is egress."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Tier(IntEnum):
    """Which rules are asked first."""

    ADMIN = 0
    NORMAL = 1
    BASELINE = 2


class Action(StrEnum):
    """What a rule wants. PASS exists in the Admin tier only."""

    ALLOW = "allow"
    DENY = "deny"
    PASS = "pass"  # noqa: S105 - a verdict, not a password


class SubjectKind(StrEnum):
    """Pods, or nodes (host firewall)."""

    ENDPOINT = "endpoint"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Match:
    """One condition on labels. ``op``: ``in``, ``notin``, ``exists``, ``absent``; a missing label satisfies ``notin``.

    ``source`` "any" looks at labels of every source (a selector key without ``source:``).
    """

    source: str
    key: str
    op: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Iterable[Label]) -> bool:
        """Whether the labels satisfy the condition. With several sources of one key, one that fits is enough."""
        have = [one.value for one in labels if one.key == self.key and self.source in (SOURCE_ANY, one.source)]
        match self.op:
            case "in":
                return any(value in self.values for value in have)
            case "notin":
                return not any(value in self.values for value in have)
            case "exists":
                return bool(have)
            case _:
                return not have


@dataclass(frozen=True, slots=True)
class LabelPeer:
    """Identities whose labels satisfy every match; without any match: every endpoint identity that is not reserved.

    Entities are this too: ``host`` is ``Match("reserved", "host", "exists")``; ``world`` is three of these.
    """

    matches: tuple[Match, ...]

    def selects(self, labels: Iterable[Label]) -> bool:
        """Whether an identity with these labels is one of them. The caller sees to the empty case (see ``policy``)."""
        held = tuple(labels)
        return all(one.holds(held) for one in self.matches)


@dataclass(frozen=True, slots=True)
class CidrPeer:
    """Addresses of ``prefix`` outside of ``excepts``, of what is no endpoint (and no node, unless so configured)."""

    prefix: Prefix
    excepts: tuple[Prefix, ...] = ()


Peer = LabelPeer | CidrPeer


@dataclass(frozen=True, slots=True)
class Ports:
    """One protocol (IP protocol number; 0: TCP, UDP and SCTP alike) with the ports ``first`` to ``last``, inclusive.

    ``name``: a named port instead; it is the number that the receiving endpoint gives it. 0 to 65535 means all ports.
    For ICMP and ICMPv6 the numbers are message types (0-255).
    """

    protocol: int
    first: int = 0
    last: int = PORT_MAX
    name: str = ""


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """Which object a rule came from. ``namespace`` is "" for cluster-wide kinds; ``file`` for policies read offline."""

    kind: str
    namespace: str
    name: str
    uid: str = ""
    file: str = ""

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {name}" + (f" of {self.file}" if self.file else "")


@dataclass(frozen=True, slots=True, order=True)
class RuleOrigin:
    """A rule's place in its object: ``section`` such as ``ingress`` or ``egressDeny``.

    ``spec`` is the place in ``specs``, -1 for the one ``spec``.
    """

    object: ObjectRef
    section: str
    index: int
    spec: int = -1
    label: str = ""
    """The rule's own name, where its kind has one."""

    @property
    def path(self) -> str:
        """Path of the rule in its object."""
        spec = "spec" if self.spec < 0 else f"specs[{self.spec}]"
        return f"{spec}.{self.section}[{self.index}]"

    def __str__(self) -> str:
        spec = f"specs[{self.spec}]." if self.spec >= 0 else ""
        return f"{self.object}, {spec}{self.section}[{self.index}]" + (f" ({self.label})" if self.label else "")


@dataclass(frozen=True, slots=True)
class Subject:
    """To whom a rule applies: endpoints or nodes whose labels satisfy every match (none: all of that kind).

    A namespaced object's namespace is among the matches.
    """

    kind: SubjectKind
    matches: tuple[Match, ...] = ()

    def selects(self, labels: Iterable[Label]) -> bool:
        """Whether these labels belong to it."""
        held = tuple(labels)
        return all(one.holds(held) for one in self.matches)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``peers`` None: anybody, () nobody; ``ports`` None: everything, () nothing.

    ``needs`` names what it would take and is not there ("l7", "fqdn" ...): such a rule allows nothing, so that what it
    was to restrict stays refused, and its object's status says so.
    """

    origin: RuleOrigin
    subject: Subject
    direction: Direction
    action: Action
    peers: tuple[Peer, ...] | None
    ports: tuple[Ports, ...] | None
    tier: Tier = Tier.NORMAL
    priority: int = 0
    order: int = 0
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DefaultDeny:
    """A section that puts its subjects under default deny in one direction."""

    origin: ObjectRef
    subject: Subject
    direction: Direction


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about an object that its author should know. ``severity``: ``error`` (rejected) or ``warning``.

    ``path`` is the field's place (``spec.ingress[0].toPorts[0].ports[0].port``); ``line`` where a file was read.
    """

    severity: str
    path: str
    message: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class PolicyObject:
    """One policy object, understood. With an ``error`` among the findings, rules and default_denies are empty."""

    ref: ObjectRef
    rules: tuple[Rule, ...] = ()
    default_denies: tuple[DefaultDeny, ...] = ()
    findings: tuple[Finding, ...] = ()
    description: str = ""


# --- what the kernel's tables hold (bpf/types/policy.h) ---


class Verdict(IntEnum):
    """``enum gh_policy_verdict``; a test compares the numbers with the object's BTF."""

    ALLOW = 1
    DENY_DEFAULT = 2
    DENY_RULE = 3


@dataclass(frozen=True, slots=True)
class PortRow:
    """One entry of ``policy_ports``: ports of one protocol that share their first ``prefix_bits`` bits (host order).

    ``prefix_bits`` 16 is one port, 0 the whole protocol. For ICMP the port is the message type.
    """

    protocol: int
    port: int
    prefix_bits: int
    verdict: Verdict
    rule: int


@dataclass(frozen=True, slots=True)
class PeerRows:
    """Everything one policy says of one peer identity in one direction: ``verdict`` where no port row matches.

    ``rule`` is the cookie of the rule that decided (0: none, nothing matched).
    """

    verdict: Verdict
    rule: int
    ports: tuple[PortRow, ...] = ()


ANY_PEER = 0
"""The peer identity whose rows hold for every peer without rows of its own."""
