"""Which rules apply to whom: the objects' rules, filed under the subjects they name.

A subject is known by its kind and labels. Its rules in each direction, whether it is under default deny, and the
numbers it gives the port names that its rules use make a ``HalfKey``; subjects with equal keys share one policy number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from glasshive.model.labels import Labels
from glasshive.model.policy import (
    Action,
    DefaultDeny,
    Direction,
    LabelPeer,
    Match,
    ObjectRef,
    PolicyObject,
    Rule,
    RuleOrigin,
    Subject,
    SubjectKind,
)
from glasshive.policy.cookies import Cookies
from glasshive.policy.half import HalfKey, InForce
from glasshive.policy.ports import NO_NAMES, NamedPort
from glasshive.policy.rows import Compiled, effective
from glasshive.policy.selectors import Selector, SelectorCache, everyone


class Mode(StrEnum):
    """Who is judged: those whom rules select, everybody, nobody."""

    DEFAULT = "default"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Settings:
    """``allow_localhost``: the node itself may always reach its pods, unless a rule denies it (features.md, 2.6).

    ``nodes_by_cidr``: CIDR rules also mean nodes, whose identities then carry ``cidr:`` labels. ``always`` is about
    endpoints: nodes are judged only if a policy selects them, or a fresh cluster could lock itself out.
    """

    mode: Mode = Mode.DEFAULT
    allow_localhost: bool = True
    nodes_by_cidr: bool = False
    dual_stack: bool = True


@dataclass(frozen=True, slots=True)
class SubjectFacts:
    """What policy needs to know of an endpoint or a node."""

    labels: Labels
    named_ports: frozenset[NamedPort] = NO_NAMES
    kind: SubjectKind = SubjectKind.ENDPOINT


LOCALHOST = Rule(
    origin=RuleOrigin(ObjectRef("Setting", "", "allow-localhost"), "ingress", 0),
    subject=Subject(SubjectKind.ENDPOINT),
    direction=Direction.INGRESS,
    action=Action.ALLOW,
    peers=(LabelPeer((Match("reserved", "host", "exists"),)),),
    ports=None,
)


@dataclass(frozen=True, slots=True, eq=False)
class Filed:
    """A rule of an object in force. ``in_force`` None: it cannot decide anything (see ``rows.effective``)."""

    number: int
    rule: Rule
    in_force: InForce | None
    subject: Selector
    peers: tuple[Selector, ...]


@dataclass(slots=True, eq=False)
class _Group:
    """What all subjects of one selector have in common."""

    rules: dict[int, Filed] = field(default_factory=dict)
    denies: dict[DefaultDeny, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Held:
    """An object's share in the book."""

    value: PolicyObject
    rules: dict[Rule, Filed]
    denies: dict[DefaultDeny, Selector]


class Applicable(NamedTuple):
    """All that is said about a subject."""

    rules: list[Filed]
    denies: list[DefaultDeny]


Place = tuple[str, str, str, str]
"""Kind, namespace, name and file of an object: a new uid is the same object once more."""


def place(ref: ObjectRef) -> Place:
    """Where an object is in the book."""
    return ref.kind, ref.namespace, ref.name, ref.file


class RuleBook:
    """All objects, and for every class of subjects the rules that hold for it."""

    def __init__(self, peers: SelectorCache, settings: Settings) -> None:
        self.settings = settings
        self.cookies = Cookies()
        self._peers = peers
        self._objects: dict[Place, _Held] = {}
        self._classes = {kind: SelectorCache(everyone) for kind in SubjectKind}
        self._kinds: dict[int, SubjectKind] = {}
        self._groups: dict[SubjectKind, dict[int, _Group]] = {kind: {} for kind in SubjectKind}
        self._in_force: dict[int, InForce] = {}
        self._next = 1
        self._localhost = self._file_rule(LOCALHOST)

    # -- objects

    def put(self, value: PolicyObject) -> tuple[set[int], list[Filed], list[Rule]]:
        """An object as it is now; returns the classes it concerns, the rules that left it, and the rules that came.

        An object that was rejected changes nothing: what it said before stays in force, never half of the new.
        ``drop`` the rules that left when nothing uses them any more.
        """
        if any(one.severity == "error" for one in value.findings):
            return set(), [], []
        where = place(value.ref)
        held = self._objects.get(where) or _Held(value, {}, {})
        touched: set[int] = set()
        rules: dict[Rule, Filed] = {}
        came: list[Rule] = []
        for rule in dict.fromkeys(value.rules):
            filed = held.rules.get(rule) if held.rules else None
            if filed is None:
                filed = self._file_rule(rule)
                touched |= self._enter(filed)
                came.append(rule)
            rules[rule] = filed
        left = [filed for rule, filed in held.rules.items() if rule not in rules]
        for filed in left:
            touched |= self._leave(filed)
        denies, more = self._exchange_denies(held.denies, value.default_denies)
        self._objects[where] = _Held(value, rules, denies)
        return touched | more, left, came

    def remove(self, ref: ObjectRef) -> tuple[set[int], list[Filed], list[Rule]]:
        """An object is no more; returns as ``put`` does."""
        held = self._objects.get(place(ref))
        if held is None:
            return set(), [], []
        found = self.put(PolicyObject(held.value.ref))
        del self._objects[place(ref)]
        return found

    def drop(self, left: Iterable[Filed]) -> None:
        """Nothing uses these rules any more: their selectors and cookies go."""
        for filed in left:
            if filed.in_force is not None:
                del self._in_force[filed.number]
            self.cookies.release(filed.rule.origin)
            self._classes[filed.rule.subject.kind].release(filed.subject)
            for one in filed.peers:
                self._peers.release(one)

    def objects(self) -> list[PolicyObject]:
        """All objects in force."""
        return [held.value for held in self._objects.values()]

    def in_force(self, number: int) -> InForce:
        """A rule by its number."""
        return self._in_force[number]

    # -- subjects

    def add_class(self, number: int, kind: SubjectKind, labels: Labels) -> None:
        """Subjects of this kind with these labels exist."""
        self._kinds[number] = kind
        self._classes[kind].add(number, labels)

    def remove_class(self, number: int) -> None:
        """They are no more."""
        self._classes[self._kinds.pop(number)].remove(number)

    def applicable(self, number: int) -> Applicable:
        """Everything that is said about a class of subjects."""
        kind = self._kinds[number]
        rules: list[Filed] = []
        denies: list[DefaultDeny] = []
        for selector in sorted(self._classes[kind].matched(number)):
            group = self._groups[kind].get(selector)
            if group is not None:
                rules += group.rules.values()
                denies += group.denies
        return Applicable(rules, denies)

    def halves(self, number: int, named_ports: frozenset[NamedPort]) -> tuple[HalfKey | None, HalfKey | None]:
        """What a class of subjects is under, ingress and egress; None: it is not judged in that direction."""
        found = self.applicable(number)
        kind = self._kinds[number]
        return (
            self._half(found, Direction.INGRESS, kind, named_ports),
            self._half(found, Direction.EGRESS, kind, named_ports),
        )

    def _half(
        self, found: Applicable, direction: Direction, kind: SubjectKind, named_ports: frozenset[NamedPort]
    ) -> HalfKey | None:
        mode = self.settings.mode
        if mode is Mode.NEVER:
            return None
        rules = [one for one in found.rules if one.in_force is not None and one.rule.direction is direction]
        endpoint = kind is SubjectKind.ENDPOINT
        default_deny = any(one.direction is direction for one in found.denies) or (mode is Mode.ALWAYS and endpoint)
        if not rules and not default_deny:
            return None
        if direction is Direction.EGRESS:
            return HalfKey(direction, frozenset(one.number for one in rules), default_deny, NO_NAMES)
        if endpoint and self.settings.allow_localhost:
            rules.append(self._localhost)
        names = {name for one in rules if one.in_force is not None for name in one.in_force.compiled.names}
        known = frozenset(one for one in named_ports if one.name in names)
        return HalfKey(direction, frozenset(one.number for one in rules), default_deny, known)

    # -- filing

    def _file_rule(self, rule: Rule) -> Filed:
        number = self._next
        self._next += 1
        cookie = self.cookies.acquire(rule.origin)
        subject = self._classes[rule.subject.kind].acquire(LabelPeer(rule.subject.matches))
        if not effective(rule):
            return Filed(number, rule, None, subject, ())
        peers = tuple(self._peers.acquire(peer) for peer in rule.peers or ())
        selectors = None if rule.peers is None else tuple(dict.fromkeys(one.number for one in peers))
        in_force = self._in_force[number] = InForce(Compiled.of(number, rule, cookie), selectors)
        return Filed(number, rule, in_force, subject, peers)

    def _group(self, kind: SubjectKind, selector: Selector) -> _Group:
        return self._groups[kind].setdefault(selector.number, _Group())

    def _tidy(self, kind: SubjectKind, selector: Selector) -> None:
        group = self._groups[kind][selector.number]
        if not group.rules and not group.denies:
            del self._groups[kind][selector.number]

    def _enter(self, filed: Filed) -> set[int]:
        kind = filed.rule.subject.kind
        self._group(kind, filed.subject).rules[filed.number] = filed
        return set(filed.subject.members)

    def _leave(self, filed: Filed) -> set[int]:
        kind = filed.rule.subject.kind
        del self._group(kind, filed.subject).rules[filed.number]
        self._tidy(kind, filed.subject)
        return set(filed.subject.members)

    def _exchange_denies(
        self, before: dict[DefaultDeny, Selector], wanted: Iterable[DefaultDeny]
    ) -> tuple[dict[DefaultDeny, Selector], set[int]]:
        after: dict[DefaultDeny, Selector] = {}
        touched: set[int] = set()
        for one in wanted:
            if one in after:
                continue
            selector = before.get(one)
            if selector is None:
                selector = self._classes[one.subject.kind].acquire(LabelPeer(one.subject.matches))
                denies = self._group(one.subject.kind, selector).denies
                denies[one] = denies.get(one, 0) + 1
                touched |= selector.members
            after[one] = selector
        for one, selector in before.items():
            if one in after:
                continue
            denies = self._group(one.subject.kind, selector).denies
            denies[one] -= 1
            if not denies[one]:
                del denies[one]
            self._tidy(one.subject.kind, selector)
            touched |= selector.members
            self._classes[one.subject.kind].release(selector)
        return after, touched
