"""One direction of one resolved policy: which rules are in it, and what each peer's rows are.

Subjects of different numbers may share a half (the same ingress, another egress); it is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from glasshive.model.policy import Direction, PeerRows
from glasshive.policy.ports import NO_NAMES, NamedPort
from glasshive.policy.rows import Compiled, peer_rows
from glasshive.policy.selectors import SelectorCache

_MEMO_MAX = 200_000


class HalfKey(NamedTuple):
    """What makes two halves the same. ``names``: the subject's port names that its rules use (ingress)."""

    direction: Direction
    rules: frozenset[int]
    default_deny: bool
    names: frozenset[NamedPort]


class InForce(NamedTuple):
    """A rule that can decide something, and the selectors of its peers (None: anybody)."""

    compiled: Compiled
    selectors: tuple[int, ...] | None


class RowMemo:
    """Rows by the set of rules that match: however many identities there are, each set is decided once."""

    def __init__(self) -> None:
        self._rows: dict[tuple[tuple[int, ...], frozenset[NamedPort], bool], PeerRows] = {}

    def rows(self, rules: dict[int, Compiled], names: frozenset[NamedPort], *, default_deny: bool) -> PeerRows:
        """What the rules (by number) say together."""
        key = tuple(sorted(rules)), names, default_deny
        found = self._rows.get(key)
        if found is None:
            if len(self._rows) >= _MEMO_MAX:
                self._rows.clear()
            found = self._rows[key] = peer_rows(rules.values(), names, default_deny=default_deny)
        return found


class Half:
    """The rows of all peers for one ``HalfKey``, kept while identities come and go."""

    def __init__(self, key: HalfKey, rules: Iterable[InForce], memo: RowMemo) -> None:
        self.key = key
        self.by_selector: dict[int, list[Compiled]] = {}
        self.numbers: set[int] = set()
        """The policy numbers that use it."""
        self.peers: dict[int, PeerRows] = {}
        """Rows of peers that differ from ``anybody``."""
        self._memo = memo
        self._any: dict[int, Compiled] = {}
        self._seen: dict[tuple[frozenset[int], frozenset[NamedPort]], PeerRows | None] = {}
        named: set[str] = set()
        for compiled, selectors in rules:
            named |= compiled.names
            if selectors is None:
                self._any[compiled.number] = compiled
            for one in selectors or ():
                self.by_selector.setdefault(one, []).append(compiled)
        egress = key.direction is Direction.EGRESS
        self._names_wanted = frozenset(named) if egress else frozenset()
        self.names_any = frozenset(name for one in self._any.values() for name in one.names) if egress else frozenset()
        """Names of peers' ports that rules for anybody use: with such a port even an unmatched peer has own rows."""
        self.anybody = self._memo.rows(self._any, key.names, default_deny=key.default_deny)

    def fill(self, cache: SelectorCache, names_of: Callable[[int], frozenset[NamedPort]], named: Iterable[int]) -> None:
        """Compute every peer's rows; ``named``: identities that have named ports."""
        peers: set[int] = set()
        for one in self.by_selector:
            peers |= cache.members(one)
        if self.names_any:
            peers.update(named)
        for number in peers:
            rows = self.rows_of(cache.matched(number), names_of(number))
            if rows is not None:
                self.peers[number] = rows

    def rows_of(self, matched: AbstractSet[int], names: frozenset[NamedPort]) -> PeerRows | None:
        """The rows of a peer that these selectors mean; None if they are those of anybody."""
        own = self.by_selector.keys() & matched
        if self._names_wanted and names:
            names = frozenset(one for one in names if one.name in self._names_wanted)
        else:
            names = NO_NAMES
        if not own and not names:
            return None
        seen = frozenset(own), names
        if seen in self._seen:
            return self._seen[seen]
        rules = dict(self._any)
        for selector in own:
            for one in self.by_selector[selector]:
                rules[one.number] = one
        rows: PeerRows | None = self._memo.rows(
            rules, names if self._names_wanted else self.key.names, default_deny=self.key.default_deny
        )
        if rows == self.anybody:
            rows = None
        if len(self._seen) >= _MEMO_MAX:
            self._seen.clear()
        self._seen[seen] = rows
        return rows
