"""Objects, identities and subjects in; what to write into the kernel's tables out, and only what a change can affect.

``apply`` takes changes one by one or many at once and returns one ``Delta``. Its phases keep packets right: new rules
and identities first, so that policies in use learn of identities before these are used; then the subjects that are
concerned get their numbers; what nobody needs any more is let go at the end (``delta`` has the reasons).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from glasshive.model.address import Prefix
from glasshive.model.labels import Labels
from glasshive.model.policy import ANY_PEER, Direction, PeerRows, Rule, RuleOrigin
from glasshive.policy.changes import (
    Change,
    PutIdentity,
    PutObject,
    PutSubject,
    RemoveIdentity,
    RemoveObject,
    RemoveSubject,
    SetMode,
)
from glasshive.policy.delta import Assignment, Block, Delta, PeerChange, PeerKey, PolicyRows
from glasshive.policy.half import Half, HalfKey, RowMemo
from glasshive.policy.ports import NO_NAMES, NamedPort
from glasshive.policy.prefixes import PrefixIdentities, named_by
from glasshive.policy.resolve import Applicable, Filed, Mode, RuleBook, Settings, SubjectFacts
from glasshive.policy.selectors import SelectorCache

__all__ = [
    "Change",
    "Engine",
    "PutIdentity",
    "PutObject",
    "PutSubject",
    "RemoveIdentity",
    "RemoveObject",
    "RemoveSubject",
    "SetMode",
]

Pair = tuple[HalfKey | None, HalfKey | None]


@dataclass(slots=True, eq=False)
class _Policy:
    """A number in use: two halves, and the classes of subjects under it."""

    number: int
    pair: Pair
    classes: set[int] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Class:
    """Subjects that nothing tells apart."""

    number: int
    facts: SubjectFacts
    subjects: dict[Hashable, None] = field(default_factory=dict)
    policy: _Policy | None = None


@dataclass(slots=True, eq=False)
class _Batch:
    """What a call of ``apply`` has gathered so far."""

    touched: set[int] = field(default_factory=set)
    moved: dict[Hashable, None] = field(default_factory=dict)
    left: list[Filed] = field(default_factory=list)
    identities: dict[int, PutIdentity | None] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    appeared: list[PolicyRows] = field(default_factory=list)
    changed: list[PeerChange] = field(default_factory=list)
    retired: list[PolicyRows] = field(default_factory=list)


class Engine:
    """The policy of one node.

    ``taken``: policy numbers that the kernel's tables hold from an earlier life; they are not given again until
    ``released``. ``restored``: identities of address blocks from then.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        taken: Iterable[int] = (),
        restored: Mapping[Prefix, int] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.peers = SelectorCache(nodes_by_cidr=self.settings.nodes_by_cidr)
        self.book = RuleBook(self.peers, self.settings)
        self.prefixes = PrefixIdentities(dual_stack=self.settings.dual_stack, restored=restored)
        self._memo = RowMemo()
        self._named: dict[int, frozenset[NamedPort]] = {}
        self._halves: dict[HalfKey, Half] = {}
        self._by_selector: dict[int, set[Half]] = {}
        self._naming: set[Half] = set()
        self._policies: dict[Pair, _Policy] = {}
        self._classes: dict[int, _Class] = {}
        self._class_of: dict[SubjectFacts, _Class] = {}
        self._subjects: dict[Hashable, _Class] = {}
        self._assigned: dict[Hashable, Assignment] = {}
        self._next_class = 1
        self._taken = set(taken)
        self._free: list[int] = []
        self._next_number = 1

    # -- changes

    def apply(self, *changes: Change) -> Delta:
        """Take changes in; returns what they ask of the tables."""
        batch = _Batch()
        for change in changes:
            self._take(change, batch)
        self._identities_came(batch)
        self._resolve(batch)
        return self._finish(batch)

    def released(self, numbers: Iterable[int]) -> None:
        """These policy numbers have no rows in the tables any more and may be given again."""
        for number in numbers:
            if number in self._taken:
                self._taken.discard(number)
                heappush(self._free, number)

    def _take(self, change: Change, batch: _Batch) -> None:
        match change:
            case PutObject(value):
                self._rules_changed(batch, *self.book.put(value))
            case RemoveObject(ref):
                self._rules_changed(batch, *self.book.remove(ref))
            case PutIdentity(identity):
                batch.identities[identity.number] = change
            case RemoveIdentity(number):
                batch.identities[number] = None
            case PutSubject(key, facts):
                self._put_subject(key, facts, batch)
            case RemoveSubject(key):
                self._remove_subject(key, batch)
            case SetMode(mode):
                self.settings = self.book.settings = _with_mode(self.settings, mode)
                batch.touched.update(self._classes)

    def _rules_changed(self, batch: _Batch, touched: set[int], left: list[Filed], came: list[Rule]) -> None:
        batch.touched |= touched
        batch.left += left
        for rule in came:
            for prefix in named_by((rule,)):
                identity = self.prefixes.acquire(prefix)
                if identity is not None:
                    batch.blocks.append(Block(prefix, identity))

    def _put_subject(self, key: Hashable, facts: SubjectFacts, batch: _Batch) -> None:
        before = self._subjects.get(key)
        if before is not None and before.facts == facts:
            return
        if before is not None:
            self._leave_class(key, before, batch)
        found = self._class_of.get(facts)
        if found is None:
            found = self._class_of[facts] = self._classes[self._next_class] = _Class(self._next_class, facts)
            self._next_class += 1
            self.book.add_class(found.number, facts.kind, facts.labels)
            batch.touched.add(found.number)
        found.subjects[key] = None
        self._subjects[key] = found
        batch.touched.add(found.number)
        batch.moved[key] = None

    def _remove_subject(self, key: Hashable, batch: _Batch) -> None:
        before = self._subjects.pop(key, None)
        if before is not None:
            self._leave_class(key, before, batch)
            self._assigned.pop(key, None)
            batch.moved.pop(key, None)

    def _leave_class(self, key: Hashable, which: _Class, batch: _Batch) -> None:
        del which.subjects[key]
        batch.touched.add(which.number)

    # -- identities

    def _identities_came(self, batch: _Batch) -> None:
        for block in batch.blocks:
            self._identity_is(block.identity.number, block.identity.labels, NO_NAMES, batch)
        for number, put in batch.identities.items():
            if put is not None:
                self._identity_is(number, put.identity.labels, put.named_ports, batch)

    def _identity_is(self, number: int, labels: Labels, names: frozenset[NamedPort], batch: _Batch) -> None:
        gained, lost = self.peers.add(number, labels)
        concerned = gained | lost
        if names != self._named.get(number, NO_NAMES):
            if names:
                self._named[number] = names
            else:
                del self._named[number]
            concerned |= self.peers.matched(number)
            halves = set(self._naming)
        else:
            halves = set()
        for one in concerned:
            halves |= self._by_selector.get(one, frozenset())
        matched = self.peers.matched(number)
        for half in halves:
            before = half.peers.get(number)
            after = half.rows_of(matched, names)
            if before == after:
                continue
            if after is None:
                del half.peers[number]
            else:
                half.peers[number] = after
            batch.changed += _changes(half, number, before, after)

    def _identity_gone(self, number: int) -> list[PeerChange]:
        halves: set[Half] = set(self._naming) if self._named.pop(number, None) else set()
        for one in self.peers.remove(number):
            halves |= self._by_selector.get(one, frozenset())
        gone: list[PeerChange] = []
        for half in halves:
            before = half.peers.pop(number, None)
            if before is not None:
                gone += _changes(half, number, before, None)
        return gone

    # -- subjects

    def _resolve(self, batch: _Batch) -> None:
        """Find the policy of every class concerned; new ones before old ones are let go, so that halves are kept."""
        emptied: list[_Policy] = []
        for number in sorted(batch.touched):
            which = self._classes.get(number)
            if which is None:
                continue
            before = which.policy
            wanted: Pair = (None, None)
            if which.subjects:
                wanted = self.book.halves(number, which.facts.named_ports)
                batch.moved.update(which.subjects)
            else:
                self.book.remove_class(number)
                del self._classes[number], self._class_of[which.facts]
            if before is not None and before.pair != wanted:
                before.classes.discard(number)
                which.policy = None
                emptied.append(before)
            if wanted != (None, None) and which.policy is None:
                which.policy = self._policy(wanted, batch)
                which.policy.classes.add(number)
        for policy in dict.fromkeys(emptied):
            if not policy.classes:
                self._retire(policy, batch)

    def _policy(self, pair: Pair, batch: _Batch) -> _Policy:
        found = self._policies.get(pair)
        if found is None:
            found = self._policies[pair] = _Policy(self._number(), pair)
            peers: dict[tuple[Direction, int], PeerRows] = {}
            for key in pair:
                if key is not None:
                    half = self._half(key)
                    half.numbers.add(found.number)
                    peers.update(_all_rows(half))
            batch.appeared.append(PolicyRows(found.number, peers))
        return found

    def _half(self, key: HalfKey) -> Half:
        half = self._halves.get(key)
        if half is None:
            half = self._halves[key] = Half(key, [self.book.in_force(one) for one in sorted(key.rules)], self._memo)
            half.fill(self.peers, lambda number: self._named.get(number, NO_NAMES), self._named)
            for one in half.by_selector:
                self._by_selector.setdefault(one, set()).add(half)
            if half.names_any:
                self._naming.add(half)
        return half

    def _retire(self, policy: _Policy, batch: _Batch) -> None:
        del self._policies[policy.pair]
        peers: dict[tuple[Direction, int], PeerRows] = {}
        for key in policy.pair:
            if key is None:
                continue
            half = self._halves[key]
            peers.update(_all_rows(half))
            half.numbers.discard(policy.number)
            if not half.numbers:
                del self._halves[key]
                self._naming.discard(half)
                for one in half.by_selector:
                    users = self._by_selector[one]
                    users.discard(half)
                    if not users:
                        del self._by_selector[one]
        batch.retired.append(PolicyRows(policy.number, peers))

    def _number(self) -> int:
        if self._free:
            number = heappop(self._free)
        else:
            while self._next_number in self._taken:
                self._next_number += 1
            number = self._next_number
        self._taken.add(number)
        return number

    # -- the end of a call

    def _finish(self, batch: _Batch) -> Delta:
        flips = []
        for key in batch.moved:
            which = self._subjects[key]
            now = _assignment(key, which.policy)
            if self._assigned.get(key) != now:
                self._assigned[key] = now
                flips.append(now)
        self.book.drop(batch.left)
        removed = []
        for filed in batch.left:
            for prefix in named_by((filed.rule,)):
                identity = self.prefixes.release(prefix)
                if identity is not None:
                    removed.append(Block(prefix, identity))
        departed = [block.identity.number for block in removed]
        departed += [number for number, put in batch.identities.items() if put is None]
        gone = [change for number in departed for change in self._identity_gone(number)]
        return Delta(
            tuple(batch.appeared),
            tuple(batch.changed),
            tuple(batch.blocks),
            tuple(flips),
            tuple(removed),
            tuple(gone),
            tuple(batch.retired),
        )

    # -- the whole

    def rows(self) -> list[PolicyRows]:
        """Every row that the tables should hold, for a comparison with the kernel."""
        found = []
        for policy in self._policies.values():
            peers: dict[tuple[Direction, int], PeerRows] = {}
            for key in policy.pair:
                if key is not None:
                    peers.update(_all_rows(self._halves[key]))
            found.append(PolicyRows(policy.number, peers))
        return found

    def assignments(self) -> list[Assignment]:
        """Under which number every subject is."""
        return list(self._assigned.values())

    def assignment(self, subject: Hashable) -> Assignment | None:
        """Under which number a subject is; None if it is not known."""
        return self._assigned.get(subject)

    def blocks(self) -> list[Block]:
        """Every address block that has an identity of its own."""
        return [Block(prefix, identity) for prefix, identity in self.prefixes.items().items()]

    def origin(self, cookie: int) -> RuleOrigin | None:
        """The rule that a cookie of the tables stands for."""
        return self.book.cookies.origin(cookie)

    def applicable(self, subject: Hashable) -> Applicable:
        """All rules and default denies that name a subject; KeyError if it is not known."""
        return self.book.applicable(self._subjects[subject].number)

    def facts(self, subject: Hashable) -> SubjectFacts:
        """What is known of a subject; KeyError if it is not known."""
        return self._subjects[subject].facts

    def half(self, subject: Hashable, direction: Direction) -> Half | None:
        """A subject's rows in one direction; None: it is not judged."""
        policy = self._subjects[subject].policy
        key = policy.pair[direction is Direction.EGRESS] if policy is not None else None
        return self._halves[key] if key is not None else None

    def named_ports(self, identity: int) -> frozenset[NamedPort]:
        """What an identity's endpoints call their ports."""
        return self._named.get(identity, NO_NAMES)


def _with_mode(settings: Settings, mode: Mode) -> Settings:
    return Settings(mode, settings.allow_localhost, settings.nodes_by_cidr, settings.dual_stack)


def _assignment(key: Hashable, policy: _Policy | None) -> Assignment:
    if policy is None:
        return Assignment(key, 0, ingress=False, egress=False)
    ingress, egress = policy.pair
    return Assignment(key, policy.number, ingress=ingress is not None, egress=egress is not None)


def _all_rows(half: Half) -> dict[tuple[Direction, int], PeerRows]:
    direction = half.key.direction
    return {(direction, ANY_PEER): half.anybody} | {(direction, peer): rows for peer, rows in half.peers.items()}


def _changes(half: Half, peer: int, before: PeerRows | None, after: PeerRows | None) -> Iterable[PeerChange]:
    return [PeerChange(PeerKey(number, half.key.direction, peer), before, after) for number in sorted(half.numbers)]
