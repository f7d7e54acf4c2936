"""Why a packet passes or not on one side: the row that decides, the rule behind it, and what nearly matched.

``explain`` answers from the same rows that the kernel has, and reads the rules to say why. The words are for people;
the fields are for machines.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from glasshive.model.address import Prefix
from glasshive.model.labels import Labels
from glasshive.model.policy import (
    ANY_PEER,
    Action,
    CidrPeer,
    Direction,
    ObjectRef,
    PeerRows,
    Rule,
    RuleOrigin,
    Verdict,
)
from glasshive.policy import words
from glasshive.policy.engine import Engine
from glasshive.policy.ports import PORT_BITS
from glasshive.policy.prefixes import inside
from glasshive.policy.remedy import Remedy, remedy
from glasshive.policy.resolve import LOCALHOST, Mode
from glasshive.policy.situation import Situation


class Why(StrEnum):
    """Why a rule that is about this traffic did not decide."""

    PORT = "port"  # means the peer, not the port
    PEER = "peer"  # means the port, not the peer
    HAS_IDENTITY = "has-identity"  # a CIDR rule, and the peer is an endpoint or a node
    EXCEPT = "except"  # the peer's address is in an except
    NAME = "name"  # the receiver has no port of that name
    NEEDS = "needs"  # wants something that is not enforced yet, and so allows nothing
    OUTRANKED = "outranked"  # fits, but another rule is asked first
    PASSES = "passes"  # fits, and leaves the word to the next tier


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule that nearly decided."""

    origin: RuleOrigin
    action: Action
    why: Why
    text: str


@dataclass(frozen=True, slots=True)
class DecidingRow:
    """The row of the kernel's tables that holds. ``peer`` 0: any; ``protocol`` None: no port row, the peer's own."""

    policy: int
    direction: Direction
    peer: int
    protocol: int | None
    port: int
    prefix_bits: int

    def __str__(self) -> str:
        peer = f"identity {self.peer}" if self.peer else "any peer"
        return f"policy {self.policy} {self.direction}, {peer}{self._ports()}"

    def nameless(self) -> str:
        """The row without the numbers of policy and identity, where these are made up."""
        return f"{self.direction}, {'the identity of the peer' if self.peer else 'any peer'}{self._ports()}"

    def _ports(self) -> str:
        if self.protocol is None:
            return ""
        if not self.prefix_bits:
            return f", {words.protocol(self.protocol)}"
        last = self.port + (1 << PORT_BITS - self.prefix_bits) - 1
        numbers = str(self.port) if last == self.port else f"{self.port}-{last}"
        return f", {numbers}/{words.protocol(self.protocol)}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One side's word. ``verdict`` None: nothing judges the subject in this direction, so the packet passes."""

    subject: Hashable
    direction: Direction
    peer: int
    peer_labels: Labels
    protocol: int
    port: int
    verdict: Verdict | None
    mode: Mode
    row: DecidingRow | None
    rule: RuleOrigin | None
    isolated_by: tuple[ObjectRef, ...]
    near: tuple[NearMiss, ...]
    remedy: Remedy | None

    @property
    def allowed(self) -> bool:
        """Whether the packet passes on this side."""
        return self.verdict in (None, Verdict.ALLOW)

    def text(self, *, offline: bool = False) -> str:
        """The explanation as lines for a terminal. ``offline``: no kernel has given the numbers of the row."""
        lines = [f"{self.direction} of {self.subject}: {words.VERDICTS[self.verdict]}"]
        if self.row is not None:
            lines += _lines("row", [self.row.nameless() if offline else str(self.row)])
        lines += _lines("because", [self.reason()])
        lines += _lines("nearly", [f"{one.origin}: {one.text}" for one in self.near])
        if self.remedy is not None:
            lines += _lines("to deny it" if self.allowed else "to allow it", [self.remedy.text])
        return "\n".join(lines)

    def reason(self) -> str:
        """The deciding fact, in one sentence."""
        if self.verdict is None:
            if self.mode is Mode.NEVER:
                return "the enforcement mode is never: nothing is judged"
            return "no policy selects it in this direction"
        if self.rule is not None:
            return f"{self.rule} {'allows' if self.allowed else 'denies'} it"
        if self.allowed:
            return "no rule speaks of it, and no policy puts the subject under default deny in this direction"
        by = ", ".join(map(str, self.isolated_by))
        return f"no rule allows it, and default deny holds by {by or 'the enforcement mode, which is always'}"


def explain(
    engine: Engine,
    subject: Hashable,
    direction: Direction,
    packet: tuple[int, int],
    *,
    peer: int,
    addresses: Iterable[Prefix] = (),
) -> Explanation:
    """Why a packet (protocol, port or ICMP type) passes or not; KeyError for a subject the engine does not know.

    ``peer`` is the other side's identity; ``addresses`` are its own, as far as known: they make CIDR rules' part clear.
    """
    at = Situation.of(engine, subject, direction, packet, peer=peer, addresses=addresses)
    row, verdict, cookie = _look(engine, subject, at)
    rule = engine.origin(cookie) if cookie else None
    near = tuple(miss for one in at.rules if one is not LOCALHOST and (miss := _miss(at, one, rule)) is not None)
    return Explanation(
        subject=subject,
        direction=direction,
        peer=peer,
        peer_labels=at.peer_labels,
        protocol=at.protocol,
        port=at.port,
        verdict=verdict,
        mode=engine.settings.mode,
        row=row,
        rule=rule,
        isolated_by=at.isolated_by,
        near=near,
        remedy=remedy(at),
    )


def _look(engine: Engine, subject: Hashable, at: Situation) -> tuple[DecidingRow | None, Verdict | None, int]:
    """What the tables say, and where."""
    half = engine.half(subject, at.direction)
    assignment = engine.assignment(subject)
    if half is None or assignment is None:
        return None, None, 0
    own = half.peers.get(at.peer)
    rows: PeerRows = half.anybody if own is None else own
    peer = ANY_PEER if own is None else at.peer
    for row in rows.ports:
        if (
            row.protocol == at.protocol
            and row.port >> PORT_BITS - row.prefix_bits == at.port >> PORT_BITS - row.prefix_bits
        ):
            where = DecidingRow(assignment.number, at.direction, peer, row.protocol, row.port, row.prefix_bits)
            return where, row.verdict, row.rule
    return DecidingRow(assignment.number, at.direction, peer, None, 0, 0), rows.verdict, rows.rule


def _miss(at: Situation, rule: Rule, decider: RuleOrigin | None) -> NearMiss | None:
    """How near a rule came; None if it decided, or has nothing to do with this packet."""
    if rule.origin == decider:
        return None
    peer, port = at.fits_peer(rule), at.fits_port(rule)
    found: tuple[Why, str] | None = None
    if peer and port:
        found = _fits(rule, decider)
    elif peer:
        found = _other_port(at, rule)
    elif (why := _address(at, rule)) is not None:
        found = why
    elif port and (rule.ports is not None or rule.peers != ()):
        found = Why.PEER, f"the port fits, the peer does not: it means {words.peers(rule.peers)}"
    return NearMiss(rule.origin, rule.action, *found) if found is not None else None


def _fits(rule: Rule, decider: RuleOrigin | None) -> tuple[Why, str]:
    if rule.needs and rule.action is Action.ALLOW:
        lacks = ", ".join(sorted(rule.needs))
        return Why.NEEDS, f"peer and port fit, but it wants what is not enforced yet ({lacks}), and so allows nothing"
    if rule.action is Action.PASS:
        return Why.PASSES, "fits, and passes the decision on to the tiers behind Admin"
    by = f"{decider} is asked first" if decider is not None else "default deny decides before its tier"
    return Why.OUTRANKED, f"fits too ({rule.action}), but {by}"


def _other_port(at: Situation, rule: Rule) -> tuple[Why, str]:
    names = [one for one in rule.ports or () if one.name]
    known = {one.name for one in at.names}
    if names and all(one.name not in known for one in names) and len(names) == len(rule.ports or ()):
        wanted = ", ".join(f'"{one.name}"' for one in names)
        return Why.NAME, f"the peer fits, but the receiver has no port named {wanted}"
    return Why.PORT, f"the peer fits, the port does not: it says {words.ports(rule.ports)}"


def _address(at: Situation, rule: Rule) -> tuple[Why, str] | None:
    """What a CIDR rule has to do with a peer that it does not mean."""
    for peer in rule.peers or ():
        if not isinstance(peer, CidrPeer):
            continue
        held = [one for one in at.addresses if inside(one, peer.prefix)]
        kept_out = [other for one in held for other in peer.excepts if inside(one, other)]
        if at.outside and kept_out:
            return Why.EXCEPT, f"{peer.prefix} holds {held[0]}, but {kept_out[0]} is excepted"
        if not at.outside and (held or not at.addresses):
            who = words.labels(at.peer_labels)
            text = f"{words.peer(peer)} cannot apply: the peer has an identity ({who}); CIDRs mean the outside only"
            return Why.HAS_IDENTITY, text
    return None


def _lines(title: str, texts: Iterable[str]) -> list[str]:
    found = list(texts)
    return [f"  {title if not at else '':<12} {text}" for at, text in enumerate(found)]
