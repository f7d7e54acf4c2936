"""Checks of measurements by their shape: slopes and ratios, which do not depend on how fast the machine is.

Pure functions on points ``(x, y)`` that somebody has measured, in any unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from glasshive.errors import UsageError
from glasshive.lab.checks.outcome import judged
from glasshive.model.check_result import CheckResult

Points = Sequence[tuple[float, float]]


def exponent(points: Points) -> float:
    """Give k of the power law y ~ x**k that fits best (least squares of the logarithms): 0 is flat, 1 linear."""
    if len({x for x, _ in points}) < 2 or any(x <= 0 or y <= 0 for x, y in points):
        raise UsageError("a shape needs points at two different x at least, all above zero")
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    above = sum((x - mean_x) * (y - mean_y) for x, y in logs)
    return float(above / sum((x - mean_x) ** 2 for x, _ in logs))


def grows(
    points: Points, at_least: float, at_most: float, *, what: str = "it", why: str = "", read: str = ""
) -> CheckResult:
    """It grows with the power ``at_least`` to ``at_most``: (-0.2, 0.2) is flat, (0.7, 1.3) about linear.

    States: ``too-flat``, ``too-steep``.
    """
    found = exponent(points)
    wanted = f"an exponent from {at_least:g} to {at_most:g}"
    state = "too-flat" if found < at_least else "too-steep"
    observed = f"{what} grows with the power {found:.2f} of x over {len(points)} points"
    return judged(at_least <= found <= at_most, observed, wanted, why=why, read=read, state=state)


def ratio(
    one: float, other: float, at_least: float, at_most: float, *, what: str = "the ratio", why: str = "", read: str = ""
) -> CheckResult:
    """``one / other`` lies between the two. States: ``too-small``, ``too-large``."""
    if other <= 0:
        raise UsageError("a ratio needs something above zero to compare with")
    found = one / other
    wanted = f"{what} from {at_least:g} to {at_most:g}"
    state = "too-small" if found < at_least else "too-large"
    return judged(at_least <= found <= at_most, f"{what} is {found:.2f}", wanted, why=why, read=read, state=state)
