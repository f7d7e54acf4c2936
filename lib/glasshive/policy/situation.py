"""One packet before the rules of one side: who fits, who decides, and who would if a rule were another one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from glasshive.model.address import Prefix
from glasshive.model.labels import NO_LABELS, SOURCE_RESERVED, Labels
from glasshive.model.policy import CidrPeer, Direction, ObjectRef, Peer, Rule, SubjectKind, Verdict
from glasshive.policy.engine import Engine
from glasshive.policy.ports import EVERY_PROTOCOL, NamedPort
from glasshive.policy.resolve import LOCALHOST, Mode, SubjectFacts
from glasshive.policy.rows import Compiled, claims, effective
from glasshive.policy.selectors import selects_block


@dataclass(frozen=True, slots=True)
class Situation:
    """A packet of ``protocol`` to ``port`` (or of an ICMP type), judged by the policy of ``facts`` in one direction.

    ``rules`` are all that name the subject in this direction, whether they fit or not, in their objects' order.
    """

    engine: Engine
    facts: SubjectFacts
    direction: Direction
    peer: int
    protocol: int
    port: int
    rules: tuple[Rule, ...]
    isolated_by: tuple[ObjectRef, ...]
    default_deny: bool
    addresses: tuple[Prefix, ...] = ()
    """The peer's, as far as they are known."""

    @classmethod
    def of(
        cls,
        engine: Engine,
        subject: Hashable,
        direction: Direction,
        packet: tuple[int, int],
        *,
        peer: int,
        addresses: Iterable[Prefix] = (),
    ) -> Situation:
        """The situation of a packet (protocol, port); KeyError if the engine does not know the subject."""
        facts = engine.facts(subject)
        found = engine.applicable(subject)
        rules = [one.rule for one in found.rules if one.rule.direction is direction]
        isolated_by = tuple(dict.fromkeys(one.origin for one in found.denies if one.direction is direction))
        endpoint = facts.kind is SubjectKind.ENDPOINT
        if endpoint and direction is Direction.INGRESS and engine.settings.allow_localhost:
            rules.append(LOCALHOST)
        default_deny = bool(isolated_by) or (endpoint and engine.settings.mode is Mode.ALWAYS)
        return cls(engine, facts, direction, peer, *packet, tuple(rules), isolated_by, default_deny, tuple(addresses))

    @property
    def peer_labels(self) -> Labels:
        """The peer's labels."""
        return self.engine.peers.labels(self.peer) or NO_LABELS

    @property
    def names(self) -> frozenset[NamedPort]:
        """What the receiving side calls its ports."""
        return self.facts.named_ports if self.direction is Direction.INGRESS else self.engine.named_ports(self.peer)

    @property
    def outside(self) -> bool:
        """Whether the peer is of the world, so that CIDR rules go by its address."""
        return any(one.source == SOURCE_RESERVED and one.key.startswith("world") for one in self.peer_labels)

    def means(self, peer: Peer) -> bool:
        """Whether one peer of a rule is this one. Of the world every address may get an identity of its own."""
        if isinstance(peer, CidrPeer) and self.outside and self.addresses:
            return any(selects_block(peer, one) for one in self.addresses)
        return self.engine.peers.means(peer, self.peer)

    def fits_peer(self, rule: Rule) -> bool:
        """Whether a rule means the peer."""
        return rule.peers is None or any(self.means(one) for one in rule.peers)

    def fits_port(self, rule: Rule) -> bool:
        """Whether a rule speaks of the port."""
        spans = Compiled.of(0, rule, 0).spans_with(self.names)
        return any(
            one.protocol in (EVERY_PROTOCOL, self.protocol) and one.first <= self.port <= one.last for one in spans
        )

    def fits(self, rule: Rule) -> bool:
        """Whether a rule has a word on the packet."""
        return effective(rule) and self.fits_peer(rule) and self.fits_port(rule)

    def fitting(self) -> list[Rule]:
        """The rules that have a word on the packet."""
        return [one for one in self.rules if self.fits(one)]

    def decide(self, rules: Sequence[Rule]) -> tuple[Verdict, Rule | None]:
        """What rules that all fit say, and which of them decides."""
        cookie = self.engine.book.cookies.known
        compiled = [Compiled.of(at, one, cookie(one.origin)) for at, one in enumerate(rules)]
        by_cookie = {one.cookie: one.rule for one in compiled}
        passed = False
        for claim in claims(compiled, self.names, default_deny=self.default_deny):
            covers = claim.span.protocol in (EVERY_PROTOCOL, self.protocol)
            if not covers or not claim.span.first <= self.port <= claim.span.last:
                continue
            if passed and claim.rank[0] == 0:
                continue
            if claim.outcome is not None:
                return claim.outcome.verdict, by_cookie[claim.outcome.rule]
            passed = True
        return (Verdict.DENY_DEFAULT if self.default_deny else Verdict.ALLOW), None

    def allows(self, rules: Iterable[Rule]) -> bool:
        """Whether the packet would pass if these were the rules."""
        verdict, _ = self.decide([one for one in rules if self.fits(one)])
        return verdict is Verdict.ALLOW
