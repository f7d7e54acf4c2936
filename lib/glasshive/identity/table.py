"""Which number a set of labels has, as far as this node has heard. Pure.

Two agents that meet the same new labels at the same moment try the same numbers in the same order, because the order is
derived from the labels; the API server lets one create the object and shows it to the other. Should two objects for the
same labels exist all the same, every node uses the lower number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from glasshive.errors import ExhaustedError
from glasshive.model.identity import CLUSTER_MAX, Identity
from glasshive.model.labels import Labels


class NumberChange(NamedTuple):
    """Labels whose number is another one than before; None: they have (or had) none."""

    labels: Labels
    old: int | None
    new: int | None


class IdentityTable:
    """Numbers and labels, in both directions."""

    def __init__(self, reserved: Iterable[Identity] = ()) -> None:
        self._labels: dict[int, Labels] = {}
        self._numbers: dict[Labels, list[int]] = {}
        for identity in reserved:
            self.add(identity)

    def add(self, identity: Identity) -> NumberChange | None:
        """Learn that a number stands for labels; returns what changed for the labels, if anything."""
        if self._labels.get(identity.number) == identity.labels:
            return None
        self.remove(identity.number)
        old = self.number(identity.labels)
        self._labels[identity.number] = identity.labels
        self._numbers[identity.labels] = sorted([*self._numbers.get(identity.labels, ()), identity.number])
        new = self.number(identity.labels)
        return NumberChange(identity.labels, old, new) if new != old else None

    def remove(self, number: int) -> NumberChange | None:
        """Forget a number; returns what changed for its labels, if anything."""
        labels = self._labels.pop(number, None)
        if labels is None:
            return None
        left = [other for other in self._numbers[labels] if other != number]
        old = self._numbers[labels][0]
        if left:
            self._numbers[labels] = left
        else:
            del self._numbers[labels]
        new = self.number(labels)
        return NumberChange(labels, old, new) if new != old else None

    def number(self, labels: Labels) -> int | None:
        """The lowest number that stands for these labels."""
        numbers = self._numbers.get(labels)
        return numbers[0] if numbers else None

    def labels(self, number: int) -> Labels | None:
        """What a number stands for."""
        return self._labels.get(number)

    def __contains__(self, number: int) -> bool:
        return number in self._labels

    def __len__(self) -> int:
        return len(self._labels)

    def identities(self) -> list[Identity]:
        """Everything known, by number."""
        return [Identity(number, labels) for number, labels in sorted(self._labels.items())]

    def candidates(self, labels: Labels, first: int) -> Iterator[int]:
        """Free numbers to try for new labels, from ``first`` to the end of the cluster's range.

        The start depends on the labels alone. Raises ExhaustedError after the last one.
        """
        span = CLUSTER_MAX - first + 1
        digest = hashlib.sha256("\n".join(labels.texts()).encode()).digest()
        start = int.from_bytes(digest[:8], "big") % span
        for step in range(span):
            number = first + (start + step) % span
            if number not in self._labels:
                yield number
        raise ExhaustedError(
            f"all {span} cluster identities ({first}-{CLUSTER_MAX}) are in use",
            hint="exclude labels that differ between replicas, or delete unused CiliumIdentity objects",
        )
