"""Which identities a selector means, kept while identities and selectors come and go.

Identities are found from the selector's side by an index of their labels, selectors from the identity's side by
``label_index``, so that one more identity costs a few look-ups even among ten thousand selectors.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from glasshive.model.address import IPV4_ALL, IPV6_ALL, Address, Prefix
from glasshive.model.labels import SOURCE_RESERVED, Label, Labels
from glasshive.model.policy import CidrPeer, LabelPeer, Match, Peer
from glasshive.policy.label_index import Filing, LabelIndex, Name, Values, filing, values_of
from glasshive.policy.prefixes import inside, prefix_of

_NOT_ENDPOINTS = frozenset((SOURCE_RESERVED, "cidr", "cidrgroup", "fqdn", "node"))
_NODES = frozenset(("host", "remote-node", "kube-apiserver"))
_WORLD = {"world": (IPV4_ALL, IPV6_ALL), "world-ipv4": (IPV4_ALL,), "world-ipv6": (IPV6_ALL,)}


def ordinary(labels: Iterable[Label]) -> bool:
    """Whether labels are those of an endpoint: nothing reserved, nothing that stands for addresses."""
    return not any(one.source in _NOT_ENDPOINTS for one in labels)


def everyone(_labels: Iterable[Label]) -> bool:
    """What a subject without conditions means."""
    return True


def address_blocks(labels: Iterable[Label], *, nodes: bool) -> tuple[Prefix, ...]:
    """The prefixes by which CIDR rules find an identity; none for endpoints, and for nodes unless ``nodes``."""
    reserved = {one.key for one in labels if one.source == SOURCE_RESERVED}
    if reserved & _NODES and not nodes:
        return ()
    blocks = tuple(prefix for one in labels if (prefix := prefix_of(one)) is not None)
    if blocks:
        return blocks
    return tuple(prefix for name in sorted(reserved) for prefix in _WORLD.get(name, ()))


def _holds(match: Match, values: Values) -> bool:
    """``Match.holds`` on filed labels."""
    have = values.get((match.source, match.key), ())
    match match.op:
        case "in":
            return any(value in match.values for value in have)
        case "notin":
            return not any(value in match.values for value in have)
        case "exists":
            return bool(have)
        case _:
            return not have


@dataclass(slots=True, eq=False)
class Selector:
    """One peer that rules name, and whom it means now."""

    number: int
    peer: Peer
    filed: Filing | None
    users: int = 0
    members: set[int] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Known:
    labels: Labels
    values: Values
    ordinary: bool
    blocks: tuple[Prefix, ...]
    matched: set[int] = field(default_factory=set)


class SelectorCache:
    """Selectors and identities (or anything else that has a number and labels), each side knowing the other."""

    def __init__(self, empty: Callable[[Iterable[Label]], bool] = ordinary, *, nodes_by_cidr: bool = False) -> None:
        self._empty = empty
        self._nodes_by_cidr = nodes_by_cidr
        self._known: dict[int, _Known] = {}
        self._having: dict[Name, dict[str, set[int]]] = {}
        self._ordinary: set[int] = set()
        self._blocks: list[tuple[bytes, int, int]] = []  # (address, length, identity), sorted
        self._selectors: dict[int, Selector] = {}
        self._by_peer: dict[Peer, Selector] = {}
        self._index = LabelIndex()
        self._loose: set[int] = set()  # no condition that a label must satisfy: asked for every identity
        self._by_block: dict[int, dict[bytes, set[int]]] = {}  # prefix length -> address -> selectors
        self._next = 1

    # -- selectors

    def acquire(self, peer: Peer) -> Selector:
        """The selector of a peer, made if nobody used it before."""
        found = self._by_peer.get(peer)
        if found is None:
            found = self._make(peer)
        found.users += 1
        return found

    def release(self, selector: Selector) -> bool:
        """One user less; True when it was the last and the selector is gone."""
        selector.users -= 1
        if selector.users:
            return False
        del self._by_peer[selector.peer], self._selectors[selector.number]
        for number in selector.members:
            self._known[number].matched.discard(selector.number)
        self._file(selector, add=False)
        return True

    def selectors(self) -> list[Selector]:
        """All selectors in use."""
        return list(self._selectors.values())

    def find(self, peer: Peer) -> Selector | None:
        """The selector of a peer, if somebody uses it."""
        return self._by_peer.get(peer)

    # -- identities

    def add(self, number: int, labels: Labels) -> tuple[set[int], set[int]]:
        """An identity exists, or has other labels now; returns the numbers of the selectors (gained, lost)."""
        before = self._known.get(number)
        if before is not None and before.labels == labels:
            return set(), set()
        if before is not None:
            self._unfile(number, before)
        known = self._enter(number, labels)
        known.matched = self._matching(known)
        held = before.matched if before is not None else set()
        gained, lost = known.matched - held, held - known.matched
        for one in gained:
            self._selectors[one].members.add(number)
        for one in lost:
            self._selectors[one].members.discard(number)
        return gained, lost

    def remove(self, number: int) -> set[int]:
        """An identity is gone; returns the numbers of the selectors that meant it."""
        known = self._known.pop(number, None)
        if known is None:
            return set()
        self._unfile(number, known)
        for one in known.matched:
            self._selectors[one].members.discard(number)
        return known.matched

    def matched(self, number: int) -> AbstractSet[int]:
        """The numbers of the selectors that mean an identity."""
        known = self._known.get(number)
        return known.matched if known is not None else frozenset()

    def members(self, selector: int) -> AbstractSet[int]:
        """The identities that a selector means now; none if it is gone."""
        found = self._selectors.get(selector)
        return found.members if found is not None else frozenset()

    def means(self, peer: Peer, number: int) -> bool:
        """Whether a peer, in use or not, means an identity."""
        known = self._known.get(number)
        return known is not None and self._matches(peer, known)

    def anybody(self, peer: Peer) -> bool:
        """Whether a peer means an identity now, also one that no rule names."""
        return bool(self._members(peer))

    def labels(self, number: int) -> Labels | None:
        """An identity's labels."""
        known = self._known.get(number)
        return known.labels if known is not None else None

    def numbers(self) -> list[int]:
        """All identities."""
        return list(self._known)

    def __contains__(self, number: int) -> bool:
        return number in self._known

    def __len__(self) -> int:
        return len(self._known)

    # -- identities, filed

    def _enter(self, number: int, labels: Labels) -> _Known:
        blocks = address_blocks(labels, nodes=self._nodes_by_cidr)
        known = _Known(labels, values_of(labels), self._empty(labels), blocks)
        self._known[number] = known
        for name, values in known.values.items():
            having = self._having.setdefault(name, {})
            for value in values:
                having.setdefault(value, set()).add(number)
        if known.ordinary:
            self._ordinary.add(number)
        for block in blocks:
            insort(self._blocks, (block.address, block.length, number))
        return known

    def _unfile(self, number: int, known: _Known) -> None:
        for name, values in known.values.items():
            having = self._having[name]
            for value in values:
                having[value].discard(number)
                if not having[value]:
                    del having[value]
            if not having:
                del self._having[name]
        self._ordinary.discard(number)
        for block in known.blocks:
            del self._blocks[bisect_left(self._blocks, (block.address, block.length, number))]

    def _matching(self, known: _Known) -> set[int]:
        """The selectors that mean an identity."""
        found = {one for one in self._loose if self._matches(self._selectors[one].peer, known)}
        for one, certain in self._index.find(known.values):
            if certain or self._matches(self._selectors[one].peer, known):
                found.add(one)
        for block in known.blocks:
            for length, filed in self._by_block.items():
                if length <= block.length:
                    near = filed.get(_cut(block.address, length), ())
                    found.update(one for one in near if self._matches(self._selectors[one].peer, known))
        return found

    # -- selectors, filed

    def _make(self, peer: Peer) -> Selector:
        selector = Selector(self._next, peer, filing(peer) if isinstance(peer, LabelPeer) else None)
        self._next += 1
        self._by_peer[peer] = self._selectors[selector.number] = selector
        self._file(selector, add=True)
        selector.members = self._members(peer)
        for number in selector.members:
            self._known[number].matched.add(selector.number)
        return selector

    def _file(self, selector: Selector, *, add: bool) -> None:
        peer = selector.peer
        change = set.add if add else set.discard
        if isinstance(peer, CidrPeer):
            by_address = self._by_block.setdefault(peer.prefix.length, {})
            filed = by_address.setdefault(peer.prefix.address, set())
            change(filed, selector.number)
            if not filed:
                del by_address[peer.prefix.address]
        elif selector.filed is not None and selector.filed.shape:
            (self._index.add if add else self._index.discard)(selector.number, selector.filed)
        else:
            change(self._loose, selector.number)

    def _matches(self, peer: Peer, known: _Known) -> bool:
        if isinstance(peer, CidrPeer):
            return any(selects_block(peer, block) for block in known.blocks)
        if not peer.matches:
            return known.ordinary
        return all(_holds(one, known.values) for one in peer.matches)

    def _members(self, peer: Peer) -> set[int]:
        if isinstance(peer, CidrPeer):
            return {number for block, number in self._blocks_inside(peer.prefix) if selects_block(peer, block)}
        if not peer.matches:
            return set(self._ordinary)
        wanted = [one for one in peer.matches if one.op in ("in", "exists")]
        sets = sorted((self._fitting(one) for one in wanted), key=len)
        found = set.intersection(*sets) if sets else set(self._known)
        for match in peer.matches:
            if match.op not in ("in", "exists"):
                found = {number for number in found if _holds(match, self._known[number].values)}
        return found

    def _fitting(self, match: Match) -> set[int]:
        """The identities that satisfy a condition on a label that is there."""
        having = self._having.get((match.source, match.key), {})
        if match.op == "in" and len(match.values) == 1:
            return having.get(next(iter(match.values)), set())
        return set[int]().union(
            *(held for value, held in having.items() if match.op == "exists" or value in match.values)
        )

    def _blocks_inside(self, prefix: Prefix) -> Iterator[tuple[Prefix, int]]:
        at = bisect_left(self._blocks, (prefix.address, 0, 0))
        while at < len(self._blocks):
            address, length, number = self._blocks[at]
            if _cut(address, prefix.length) != prefix.address:
                return
            yield Prefix(length, Address(address)), number
            at += 1


def selects_block(peer: CidrPeer, block: Prefix) -> bool:
    """Whether a CIDR rule means an address block: inside its prefix, outside of every except, of the same family."""
    return inside(block, peer.prefix) and not any(inside(block, one) for one in peer.excepts)


def _cut(address: bytes, length: int) -> bytes:
    whole, bits = divmod(length, 8)
    if not bits:
        return address[:whole] + bytes(16 - whole)
    return address[:whole] + bytes([address[whole] & 0xFF00 >> bits & 0xFF]) + bytes(15 - whole)
