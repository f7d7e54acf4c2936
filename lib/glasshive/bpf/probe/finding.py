"""The answer to "can this machine do X?", and how several of them answer for a need.

Capabilities are named ``group:thing`` (``attach:tcx``, ``link:wireguard``, ``tool:clang``). A need is one capability or
alternatives: ``attach:tcx|attach:clsact`` is met by either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from glasshive.errors import UsageError


class Answer(StrEnum):
    """What a probe ended with."""

    SUPPORTED = "supported"
    NOT = "not"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Finding:
    """One probe's answer and the observation behind it; ``took_ms`` is the time the attempt took, in milliseconds."""

    capability: str
    answer: Answer
    reason: str
    took_ms: float = 0.0

    def __bool__(self) -> bool:
        return self.answer is Answer.SUPPORTED


@dataclass(frozen=True)
class Machine:
    """Everything found out about one machine: a table of findings by capability, and what the machine is."""

    kernel: str
    findings: Mapping[str, Finding]
    cached: bool = False

    def __getitem__(self, capability: str) -> Finding:
        try:
            return self.findings[capability]
        except KeyError:
            raise UsageError(f"no probe is called {capability!r}", hint=f"near it: {self._near(capability)}") from None

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings.values())

    def __len__(self) -> int:
        return len(self.findings)

    def has(self, need: str) -> bool:
        """Tell whether a need (``a|b`` for alternatives) is met."""
        return any(self[one] for one in alternatives(need))

    def missing(self, needs: Iterable[str]) -> list[str]:
        """Give the needs that are not met, in the order asked."""
        return [need for need in needs if not self.has(need)]

    def why(self, need: str) -> str:
        """Say what was found for each alternative of a need, in one line."""
        found = [self[one] for one in alternatives(need)]
        return "; ".join(f"{one.capability}: {one.answer}, {one.reason}" for one in found)

    def _near(self, capability: str) -> str:
        import difflib

        return ", ".join(difflib.get_close_matches(capability, self.findings, 3)) or "see `glasshive doctor --all`"


def alternatives(need: str) -> list[str]:
    """Split ``a|b`` into its capabilities."""
    return [one.strip() for one in need.split("|") if one.strip()]
