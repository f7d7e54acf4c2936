"""From an identity's labels to the selectors that mean it, without asking each.

Selectors are filed by shape: the keys that they want a value of, or want to be there. Of one shape they are found by
the values, in one look-up, so an identity costs as many look-ups as there are shapes around its keys: a handful,
however many selectors there are. Conditions that no look-up can answer (a label that must be absent) are left to the
caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import NamedTuple

from glasshive.model.labels import SOURCE_ANY, Label
from glasshive.model.policy import LabelPeer

Name = tuple[str, str]
"""(source, key); every label is also known under the source "any"."""
Values = Mapping[Name, tuple[str, ...]]
"""An identity's values by name; several where labels of several sources have one key."""
_MOST = 64
"""Combinations of values under which one selector is filed; a list of more is checked afterwards."""


class Want(NamedTuple):
    """One part of a shape: a label that must be there, and whether its value counts."""

    name: Name
    valued: bool


Shape = tuple[Want, ...]


class Filing(NamedTuple):
    """Where a selector is filed. ``whole``: the place says everything about it."""

    shape: Shape
    places: tuple[tuple[str, ...], ...]
    whole: bool


def values_of(labels: Iterable[Label]) -> dict[Name, tuple[str, ...]]:
    """Labels by name, each under its own source and under "any"."""
    found: dict[Name, tuple[str, ...]] = {}
    for one in labels:
        value = (one.value,)
        anywhere = SOURCE_ANY, one.key
        found[anywhere] = found[anywhere] + value if anywhere in found else value
        if one.source != SOURCE_ANY:
            found[one.source, one.key] = value
    return found


def filing(peer: LabelPeer) -> Filing:
    """Where a selector belongs."""
    wants: dict[Name, tuple[str, ...] | None] = {}
    whole, combinations = True, 1
    for one in peer.matches:
        name = one.source, one.key
        if one.op == "in" and combinations * len(one.values) <= _MOST and wants.get(name) is None:
            wants[name] = tuple(sorted(one.values))
            combinations *= len(one.values)
        elif one.op == "exists":
            wants.setdefault(name, None)
        else:
            whole = False
            if one.op == "in":
                wants.setdefault(name, None)
    shape = tuple(Want(name, wanted is not None) for name, wanted in sorted(wants.items(), key=lambda item: item[0]))
    valued = [wanted for name in sorted(wants) if (wanted := wants[name]) is not None]
    return Filing(shape, tuple(product(*valued)), whole)


class LabelIndex:
    """Selectors with at least one label that must be there."""

    def __init__(self) -> None:
        self._shapes: dict[Shape, dict[tuple[str, ...], dict[int, bool]]] = {}
        self._by_name: dict[Name, set[Shape]] = {}
        self._anchors: dict[Shape, Name] = {}

    def add(self, number: int, filed: Filing) -> None:
        """File a selector."""
        places = self._shapes.get(filed.shape)
        if places is None:
            places = self._shapes[filed.shape] = {}
            anchor = min((want.name for want in filed.shape), key=lambda name: (len(self._by_name.get(name, ())), name))
            self._anchors[filed.shape] = anchor
            self._by_name.setdefault(anchor, set()).add(filed.shape)
        for place in filed.places:
            places.setdefault(place, {})[number] = filed.whole

    def discard(self, number: int, filed: Filing) -> None:
        """Take a selector out."""
        places = self._shapes.get(filed.shape)
        if places is None:
            return
        for place in filed.places:
            held = places.get(place, {})
            held.pop(number, None)
            if not held:
                places.pop(place, None)
        if not places:
            del self._shapes[filed.shape]
            anchor = self._anchors.pop(filed.shape)
            self._by_name[anchor].discard(filed.shape)
            if not self._by_name[anchor]:
                del self._by_name[anchor]

    def find(self, values: Values) -> Iterator[tuple[int, bool]]:
        """Selectors that these labels may satisfy, and whether that is certain."""
        for name in values:
            for shape in self._by_name.get(name, ()):
                parts = [values.get(want.name) for want in shape]
                if None in parts:
                    continue
                places = self._shapes[shape]
                valued = [part for part, want in zip(parts, shape, strict=True) if want.valued and part is not None]
                for place in product(*valued):
                    held = places.get(place)
                    if held:
                        yield from held.items()
