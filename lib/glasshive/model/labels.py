"""Labels with their source: ``k8s:app=web``, ``reserved:host``.

``Labels`` is a sorted, hashable set with one value per (source, key): the thing an identity is given for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

SOURCE_K8S = "k8s"
SOURCE_RESERVED = "reserved"
SOURCE_ANY = "any"

# Keys (source k8s) that every pod's identity has beside the pod's own labels (reference/features.md, 2.1).
NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels"
CLUSTER = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """One label. A label without a value (``reserved:host``) has the empty value."""

    source: str
    key: str
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Label:
        """Label of ``source:key=value``; without a source it is from anywhere (``any``)."""
        name, _, value = text.partition("=")
        source, colon, key = name.partition(":")
        return cls(source, key, value) if colon else cls(SOURCE_ANY, name, value)

    @property
    def qualified_key(self) -> str:
        """``source:key``, as the security-labels of a CiliumIdentity object spell it."""
        return f"{self.source}:{self.key}"

    def __str__(self) -> str:
        return f"{self.qualified_key}={self.value}" if self.value else self.qualified_key


@dataclass(frozen=True, slots=True)
class Labels:
    """A sorted set of labels. Equal sets are equal and have equal hashes, whatever order they were given in."""

    items: tuple[Label, ...] = ()

    @classmethod
    def of(cls, labels: Iterable[Label | str]) -> Labels:
        """Labels of values or texts; the last value of a (source, key) counts."""
        found: dict[tuple[str, str], Label] = {}
        for label in labels:
            one = Label.parse(label) if isinstance(label, str) else label
            found[one.source, one.key] = one
        return cls(tuple(sorted(found.values())))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> Labels:
        """Labels of ``{"k8s:app": "web"}``, the security-labels form of a CiliumIdentity object."""
        found = []
        for qualified, value in mapping.items():
            source, colon, key = qualified.partition(":")
            found.append(Label(source, key, value) if colon else Label(SOURCE_ANY, qualified, value))
        return cls.of(found)

    def to_mapping(self) -> dict[str, str]:
        """The security-labels form of a CiliumIdentity object."""
        return {label.qualified_key: label.value for label in self.items}

    def texts(self) -> list[str]:
        """Sorted ``source:key=value`` texts."""
        return [str(label) for label in self.items]

    def __iter__(self) -> Iterator[Label]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


NO_LABELS = Labels()
