"""What is right by the schema and still hardly meant: rules that can never decide, doubles, selectors of nothing.

Everything here is a warning. Coverage is judged from what is written: a rule is called covered only if no identity
and no packet could tell otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from glasshive.api.policy_cidrs import contains
from glasshive.api.policy_reading import WARNING
from glasshive.api.policy_selectors import WORLD
from glasshive.model.labels import SOURCE_ANY
from glasshive.model.policy import (
    PORT_MAX,
    PROTOCOL_ANY,
    SCTP,
    TCP,
    UDP,
    Action,
    CidrPeer,
    Direction,
    Finding,
    LabelPeer,
    Match,
    Peer,
    PolicyObject,
    Ports,
    Rule,
    Subject,
    SubjectKind,
    Tier,
)

_MAX_PAIRS = 100_000
"""Objects with more pairs of rules to compare are not searched for covered ones: it would take seconds."""


def lint(policy: PolicyObject) -> list[Finding]:
    """Warnings about a valid object, from itself alone."""
    found = list(_impossible(policy.rules))
    found += _nameless(policy.rules)
    found += _doubles(policy.rules)
    found += _ordered(policy.rules)
    found += _contradictions(policy.rules)
    return found


def selecting_nobody(policy: PolicyObject, selects: Callable[[LabelPeer], bool]) -> Iterator[Finding]:
    """Warnings about selectors that mean nobody now; ``selects`` says whether there is an identity of a kind."""
    subjects: dict[Subject, str] = {}
    for rule in policy.rules:
        subjects.setdefault(rule.subject, rule.origin.path.partition(".")[0])
    for deny in policy.default_denies:
        subjects.setdefault(deny.subject, "spec")
    for subject, path in subjects.items():
        pods = subject.kind is SubjectKind.ENDPOINT and subject.matches
        if pods and not selects(LabelPeer(subject.matches)):
            yield Finding(WARNING, path, "selects no endpoint that exists now: it is without effect until one does")
    for rule in policy.rules:
        for peer in rule.peers or ():
            if isinstance(peer, LabelPeer) and peer.matches and peer not in WORLD and not selects(peer):
                wanted = ", ".join(_text(one) for one in peer.matches)
                yield _warning(rule, f"the peer {wanted} is nobody that exists now")


def _warning(rule: Rule, message: str) -> Finding:
    return Finding(WARNING, rule.origin.path, message)


def _empty(rule: Rule) -> bool:
    return rule.peers == () or rule.ports == ()


def _impossible(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Selectors whose conditions no labels can satisfy together."""
    subjects: set[Subject] = set()
    for rule in rules:
        clash = _clash(rule.subject.matches) if rule.subject not in subjects else None
        subjects.add(rule.subject)
        if clash:
            yield Finding(WARNING, rule.origin.path.partition(".")[0], f"can never select anybody: {clash}")
        for peer in rule.peers or ():
            clash = _clash(peer.matches) if isinstance(peer, LabelPeer) else None
            if clash:
                yield _warning(rule, f"a peer can never be anybody: {clash}")


def _nameless(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Ports by name for receivers that have no names for their ports."""
    for rule in rules:
        outside = rule.peers and all(isinstance(one, CidrPeer) or one in WORLD for one in rule.peers)
        names = [one.name for one in rule.ports or () if one.name]
        if names and outside and rule.direction is Direction.EGRESS:
            yield _warning(rule, f'no address outside of the cluster has a port named "{names[0]}": write its number')


def _clash(matches: Sequence[Match]) -> str | None:
    """Two conditions that contradict each other, in words."""
    for at, one in enumerate(matches):
        for other in matches[:at]:
            if _contradict(one, other) or _contradict(other, one):
                return f"{_text(other)} and {_text(one)} contradict each other"
    return None


def _contradict(one: Match, other: Match) -> bool:
    """Whether no labels satisfy both. A label of any source may be there twice, once from each source."""
    if (one.source, one.key) != (other.source, other.key):
        return False
    match one.op, other.op:
        case "in", "in":
            return one.source != SOURCE_ANY and not one.values & other.values
        case "in", "notin":
            return one.values <= other.values
        case (("in" | "exists"), "absent"):
            return True
    return False


def _doubles(rules: Sequence[Rule]) -> Iterator[Finding]:
    first: dict[object, Rule] = {}
    for rule in rules:
        key = (rule.origin.spec, rule.direction, rule.action, rule.peers, rule.ports, rule.needs)
        before = first.setdefault(key, rule)
        if before.origin != rule.origin and not _empty(rule):
            yield _warning(rule, f"says the same as {before.origin.path}")


def _ordered(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Rules of the Admin and Baseline tiers behind one that matches all they match."""
    ranked = [rule for rule in rules if rule.tier is not Tier.NORMAL and not _empty(rule)]
    if len(ranked) ** 2 > _MAX_PAIRS:
        return
    for at, rule in enumerate(ranked):
        for before in ranked[:at]:
            same = before.direction is rule.direction and before.order < rule.order
            if same and not before.needs and _covers(before, rule) and not _same(before, rule):
                label = f" ({before.origin.label})" if before.origin.label else ""
                yield _warning(rule, f"never decides: {before.origin.path}{label} comes first and matches all of it")
                break


def _same(one: Rule, other: Rule) -> bool:
    return (one.action, one.peers, one.ports) == (other.action, other.peers, other.ports)


def _contradictions(rules: Sequence[Rule]) -> Iterator[Finding]:
    normal = [rule for rule in rules if rule.tier is Tier.NORMAL and not _empty(rule)]
    denies = [rule for rule in normal if rule.action is Action.DENY]
    allows = [rule for rule in normal if rule.action is Action.ALLOW and not rule.needs]
    if len(denies) * len(allows) > _MAX_PAIRS:
        return
    for rule in allows:
        for deny in denies:
            if deny.direction is rule.direction and deny.origin.spec == rule.origin.spec and _covers(deny, rule):
                yield _warning(rule, f"can never allow anything: {deny.origin.path} refuses all of it, and deny wins")
                break


def _covers(outer: Rule, inner: Rule) -> bool:
    return _peers_cover(outer.peers, inner.peers) and _ports_cover(outer.ports, inner.ports)


def _peers_cover(outer: tuple[Peer, ...] | None, inner: tuple[Peer, ...] | None) -> bool:
    if outer is None:
        return True
    if inner is None:
        return False
    world = all(one in outer for one in WORLD)
    return all(
        (world and isinstance(one, CidrPeer)) or any(_peer_covers(candidate, one) for candidate in outer)
        for one in inner
    )


def _peer_covers(outer: Peer, inner: Peer) -> bool:
    if outer == inner:
        return True
    if isinstance(outer, LabelPeer) and isinstance(inner, LabelPeer):
        return bool(outer.matches) and all(
            any(_implies(given, wanted) for given in inner.matches) for wanted in outer.matches
        )
    if isinstance(outer, CidrPeer) and isinstance(inner, CidrPeer):
        return contains(outer.prefix, inner.prefix) and not any(
            contains(inner.prefix, one) or contains(one, inner.prefix)
            for one in outer.excepts
            if not any(contains(left, one) for left in inner.excepts)
        )
    return False


def _implies(given: Match, wanted: Match) -> bool:
    """Whether labels that satisfy ``given`` always satisfy ``wanted``."""
    if given == wanted:
        return True
    if given.key != wanted.key:
        return False
    positive = wanted.source in (SOURCE_ANY, given.source)
    match wanted.op, given.op:
        case "in", "in":
            return positive and given.values <= wanted.values
        case "exists", ("in" | "exists"):
            return positive
        case "notin", "in":
            exact = given.source == wanted.source != SOURCE_ANY
            return exact and not given.values & wanted.values
        case "notin", "notin":
            return given.source in (SOURCE_ANY, wanted.source) and wanted.values <= given.values
        case (("notin" | "absent"), "absent"):
            return given.source in (SOURCE_ANY, wanted.source)
    return False


def _ports_cover(outer: tuple[Ports, ...] | None, inner: tuple[Ports, ...] | None) -> bool:
    if outer is None:
        return True
    return inner is not None and all(any(_port_covers(candidate, one) for candidate in outer) for one in inner)


def _port_covers(outer: Ports, inner: Ports) -> bool:
    transport = outer.protocol == PROTOCOL_ANY and inner.protocol in (PROTOCOL_ANY, TCP, UDP, SCTP)
    if not transport and outer.protocol != inner.protocol:
        return False
    if outer.name:
        return outer.name == inner.name
    if inner.name:
        return (outer.first, outer.last) == (0, PORT_MAX)
    return outer.first <= inner.first and inner.last <= outer.last


def _text(one: Match) -> str:
    key = one.key if one.source == SOURCE_ANY else f"{one.source}:{one.key}"
    values = ",".join(sorted(one.values))
    return {"in": f"{key}={values}", "notin": f"{key}!={values}", "exists": key, "absent": f"!{key}"}[one.op]
