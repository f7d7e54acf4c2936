"""Which identities a selector means, kept while identities and selectors come and go.

Identities are found from the selector's side by an index of their labels, selectors from the identity's side by one of
their conditions (the one with the fewest selectors behind it when it was added), so that one more identity costs a look
at a few selectors even among ten thousand.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from glasshive.model.address import IPV4_ALL, IPV6_ALL, Address, Prefix
from glasshive.model.labels import SOURCE_ANY, SOURCE_RESERVED, Label, Labels
from glasshive.model.policy import CidrPeer, LabelPeer, Match, Peer
from glasshive.policy.prefixes import inside, prefix_of

Key = tuple[str, ...]
"""(source, key) or (source, key, value); labels are filed under their own source and under "any"."""

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


def _keys(label: Label) -> Iterator[Key]:
    for source in dict.fromkeys((label.source, SOURCE_ANY)):
        yield source, label.key
        yield source, label.key, label.value


def _holds(match: Match, keys: AbstractSet[Key]) -> bool:
    """``Match.holds`` on filed labels."""
    match match.op:
        case "in":
            return any((match.source, match.key, value) in keys for value in match.values)
        case "notin":
            return not any((match.source, match.key, value) in keys for value in match.values)
        case "exists":
            return (match.source, match.key) in keys
        case _:
            return (match.source, match.key) not in keys


@dataclass(slots=True, eq=False)
class Selector:
    """One peer that rules name, and whom it means now."""

    number: int
    peer: Peer
    anchors: tuple[Key, ...]
    users: int = 0
    members: set[int] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Known:
    labels: Labels
    keys: frozenset[Key]
    ordinary: bool
    blocks: tuple[Prefix, ...]
    matched: set[int] = field(default_factory=set)


class SelectorCache:
    """Selectors and identities (or anything else that has a number and labels), each side knowing the other."""

    def __init__(self, empty: Callable[[Iterable[Label]], bool] = ordinary, *, nodes_by_cidr: bool = False) -> None:
        self._empty = empty
        self._nodes_by_cidr = nodes_by_cidr
        self._known: dict[int, _Known] = {}
        self._by_key: dict[Key, set[int]] = {}
        self._ordinary: set[int] = set()
        self._blocks: list[tuple[bytes, int, int]] = []  # (address, length, identity), sorted
        self._selectors: dict[int, Selector] = {}
        self._by_peer: dict[Peer, Selector] = {}
        self._anchored: dict[Key, set[int]] = {}
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
        known.matched = {one for one in self._candidates(known) if self._matches(self._selectors[one].peer, known)}
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
        known = _Known(labels, frozenset(key for one in labels for key in _keys(one)), self._empty(labels), blocks)
        self._known[number] = known
        for key in known.keys:
            self._by_key.setdefault(key, set()).add(number)
        if known.ordinary:
            self._ordinary.add(number)
        for block in blocks:
            insort(self._blocks, (block.address, block.length, number))
        return known

    def _unfile(self, number: int, known: _Known) -> None:
        for key in known.keys:
            filed = self._by_key[key]
            filed.discard(number)
            if not filed:
                del self._by_key[key]
        self._ordinary.discard(number)
        for block in known.blocks:
            del self._blocks[bisect_left(self._blocks, (block.address, block.length, number))]

    def _candidates(self, known: _Known) -> set[int]:
        found = set(self._loose)
        for key in known.keys:
            found |= self._anchored.get(key, frozenset())
        for block in known.blocks:
            for length, filed in self._by_block.items():
                if length <= block.length:
                    found |= filed.get(_cut(block.address, length), frozenset())
        return found

    # -- selectors, filed

    def _make(self, peer: Peer) -> Selector:
        anchors = self._anchors(peer) if isinstance(peer, LabelPeer) else ()
        selector = Selector(self._next, peer, anchors)
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
        elif not selector.anchors:
            change(self._loose, selector.number)
        for key in selector.anchors:
            filed = self._anchored.setdefault(key, set())
            change(filed, selector.number)
            if not filed:
                del self._anchored[key]

    def _anchors(self, peer: LabelPeer) -> tuple[Key, ...]:
        """The keys of the condition that sorts out most: the one behind which fewest selectors wait already."""
        best: tuple[int, tuple[Key, ...]] | None = None
        for match in peer.matches:
            if match.op == "in":
                keys: tuple[Key, ...] = tuple((match.source, match.key, value) for value in sorted(match.values))
            elif match.op == "exists":
                keys = ((match.source, match.key),)
            else:
                continue
            crowd = max((len(self._anchored.get(key, ())) for key in keys), default=0)
            if best is None or crowd < best[0]:
                best = crowd, keys
        return best[1] if best is not None else ()

    def _matches(self, peer: Peer, known: _Known) -> bool:
        if isinstance(peer, CidrPeer):
            return any(selects_block(peer, block) for block in known.blocks)
        if not peer.matches:
            return known.ordinary
        keys = known.keys
        return all(_holds(one, keys) for one in peer.matches)

    def _members(self, peer: Peer) -> set[int]:
        if isinstance(peer, CidrPeer):
            return {number for block, number in self._blocks_inside(peer.prefix) if selects_block(peer, block)}
        if not peer.matches:
            return set(self._ordinary)
        found: set[int] | None = None
        for match in sorted(peer.matches, key=lambda one: one.op not in ("in", "exists")):
            if match.op == "in":
                fits = set[int]().union(
                    *(self._by_key.get((match.source, match.key, value), ()) for value in match.values)
                )
            elif match.op == "exists":
                fits = self._by_key.get((match.source, match.key), set())
            else:
                among = self._known if found is None else found
                fits = {number for number in among if _holds(match, self._known[number].keys)}
            found = set(fits) if found is None else found & fits
        return found or set()

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
