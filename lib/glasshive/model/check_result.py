"""What a check of a learner's work found in the real state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Five things that are not the same; only ``fail`` says that the work is not done."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    ERROR = "error"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: what was observed, what was wanted, why it matters, and where to read about it.

    ``state`` is a short word for the kind of wrong state that was seen (``absent``, ``wrong-node``): hints are chosen
    by it. ``settles_s``: how long the same must be seen before it counts as staying so; longer for what is on its way.
    """

    name: str
    verdict: Verdict
    observed: str
    wanted: str = ""
    why: str = ""
    read: str = ""
    state: str = ""
    settles_s: float = 1.0

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def __repr__(self) -> str:
        lines = [f"{self.verdict.value}: {self.name}", f"  observed: {self.observed}"]
        if self.verdict is not Verdict.PASS:
            lines += [f"  {word}: {text}" for word, text in self._rest() if text]
        return "\n".join(lines)

    def _rest(self) -> tuple[tuple[str, str], ...]:
        return ("wanted", self.wanted), ("why", self.why), ("read", self.read)
