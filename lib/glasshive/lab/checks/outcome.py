"""Results in few words. ``fail`` must say what was seen and what was wanted: a learner reads nothing else."""

from __future__ import annotations

from collections.abc import Callable

from glasshive.model.check_result import CheckResult, Verdict

Step = Callable[[], CheckResult]
STILL_SECONDS, MOVING_SECONDS = 1.0, 4.0
"""Seen unchanged for so long, a wrong state stays wrong: the second is for what starts or ends by itself."""


def good(observed: str) -> CheckResult:
    """It is as it should be."""
    return CheckResult("", Verdict.PASS, observed)


def bad(
    observed: str, wanted: str, *, why: str = "", read: str = "", state: str = "", moving: bool = False
) -> CheckResult:
    """It is not. ``state`` is a word that hints are chosen by; ``moving``: it may become right by itself soon."""
    return CheckResult(
        "", Verdict.FAIL, observed, wanted, why, read, state, MOVING_SECONDS if moving else STILL_SECONDS
    )


def judged(
    holds: bool,
    observed: str,
    wanted: str,
    *,
    why: str = "",
    read: str = "",
    state: str = "",
    moving: bool = False,
) -> CheckResult:
    """Good if it holds, else bad."""
    if holds:
        return good(observed)
    return bad(observed, wanted, why=why, read=read, state=state, moving=moving)


def all_of(*steps: Step) -> CheckResult:
    """Look at one thing after the other: the first that is not right, or all that was seen.

    Steps are functions without arguments, so that a later one may rely on what an earlier one has made sure of.
    """
    seen = []
    for step in steps:
        result = step()
        if not result:
            return result
        seen.append(result.observed)
    return good("; ".join(seen))
