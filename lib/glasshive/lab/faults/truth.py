"""What was broken: the ground truth of an injected fault, as a value that survives JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Truth:
    """One injected fault.

    ``cause`` and ``symptom`` are for people (and for judging an answer, ``fault`` and ``where`` are for machines):
    ``where`` names what was changed (``{"node": ..., "map": "ipcache", "address": ...}``), ``before`` what healing puts
    back. ``owner`` is the namespace of the lab that asked for it, '' if none did.
    """

    id: str
    fault: str
    title: str
    cause: str
    symptom: str
    params: Mapping[str, Any]
    where: Mapping[str, Any]
    before: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "params": dict(self.params), "where": dict(self.where), "before": dict(self.before)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Truth:
        """Read back what ``to_json`` gave."""
        return cls(**plain)

    def __repr__(self) -> str:
        lines = [f"fault {self.id}: {self.title}", f"  cause: {self.cause}", f"  symptom: {self.symptom}"]
        return "\n".join(lines)
