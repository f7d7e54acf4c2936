"""Where a learner stands, worked out from events. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from glasshive.lab.progress.store import Event


@dataclass(frozen=True)
class Standing:
    """One task with one seed: what was reached, and with how much help. Scores are 0 to 100, None before the first."""

    lab: str
    task: str
    seed: int
    attempts: int = 0
    hints: int = 0
    last: float | None = None
    best: float | None = None
    passed_at: str = ""
    """When it was first passed, '' if never."""


def standings(events: Iterable[Event]) -> list[Standing]:
    """Every task that was begun, tried or asked about, in order of first mention."""
    found: dict[tuple[str, str, int], Standing] = {}
    for event in events:
        if not event.task:
            continue
        key = event.lab, event.task, event.seed
        found[key] = _after(found.get(key, Standing(*key)), event)
    return list(found.values())


def _after(now: Standing, event: Event) -> Standing:
    from dataclasses import replace

    if event.kind == "hint":
        return replace(now, hints=now.hints + 1)
    if event.kind != "attempt":
        return now
    score = event.details.get("score")
    known = [one for one in (now.best, score) if one is not None]
    passed = now.passed_at or (event.at if event.details.get("verdict") == "pass" else "")
    return replace(now, attempts=now.attempts + 1, last=score, best=max(known) if known else None, passed_at=passed)


def of_task(events: Iterable[Event], lab: str, task: str, seed: int) -> Standing:
    """One task's standing; an empty one if nothing is known of it."""
    for one in standings(events):
        if (one.lab, one.task, one.seed) == (lab, task, seed):
            return one
    return Standing(lab, task, seed)
