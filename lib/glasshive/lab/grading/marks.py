"""What a lab's namespace remembers: the seed, and which tasks were begun. Annotations, so that every process sees them.

They go with the namespace when the lab is reset, and a notebook whose kernel died finds them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SEED, BEGUN = "glasshive.io/lab-seed", "glasshive.io/lab-begun"
MOST_SEED = 2**31 - 1


def namespace_object(name: str, seed: int, begun: Iterable[str]) -> dict[str, Any]:
    """The Namespace that says so."""
    annotations = {SEED: str(seed), BEGUN: " ".join(sorted(begun))}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}}


def seed_of(namespace: Mapping[str, Any] | None) -> int | None:
    """The seed that a namespace remembers, None if it remembers none. A number that is none counts as none."""
    text = _annotation(namespace, SEED)
    return int(text) if text.isdigit() and int(text) <= MOST_SEED else None


def begun_in(namespace: Mapping[str, Any] | None) -> frozenset[str]:
    """The tasks that were begun."""
    return frozenset(_annotation(namespace, BEGUN).split())


def _annotation(namespace: Mapping[str, Any] | None, name: str) -> str:
    metadata = (namespace or {}).get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(name, ""))
