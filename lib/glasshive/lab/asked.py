"""Many HTTP requests from a pod, and who answered them: for lab 19's notebook and for its grader."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from functools import cache

from glasshive.lab.checks import asker

Run = Callable[[Sequence[str], float], str]
"""Runs a command in a pod, for so many seconds at most; gives what it printed."""


class Asked:
    """``count`` requests, and the pods that answered them."""

    def __init__(self, address: str, port: int, count: int, answers: Sequence[str]) -> None:
        self.where = f"{address}:{port}"
        self.count = count
        self.answers = tuple(answers)

    @property
    def pods(self) -> list[str]:
        """Names of the pods that answered."""
        return sorted(set(self.answers))

    def __repr__(self) -> str:
        by = f", by {', '.join(self.pods)}" if self.answers else ""
        return f"{self.where}: {len(self.answers)} of {self.count} requests answered{by}"


def ask(run: Run, address: str, port: int, count: int, wait_s: float) -> Asked:
    """Send requests, all at once. What the pod prints that is no answer counts as none."""
    argv = ["python3", "-I", "-S", "-c", _program(), address, str(port), str(count), str(wait_s)]
    return Asked(address, port, count, json.loads(run(argv, wait_s + 10)))


@cache
def _program() -> str:
    return inspect.getsource(asker)
