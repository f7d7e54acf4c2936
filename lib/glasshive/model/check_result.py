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
    """One check: what was observed, what was wanted, why it matters, and where to read about it."""

    name: str
    verdict: Verdict
    observed: str
    wanted: str = ""
    why: str = ""
    read: str = ""

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def __repr__(self) -> str:
        lines = [f"{self.verdict.value}: {self.name}", f"  observed: {self.observed}"]
        if self.verdict is not Verdict.PASS:
            lines += [f"  {word}: {text}" for word, text in self._rest() if text]
        return "\n".join(lines)

    def _rest(self) -> tuple[tuple[str, str], ...]:
        return ("wanted", self.wanted), ("why", self.why), ("read", self.read)
