"""One step of bringing a cluster up, as shown to whoever waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step done. ``seconds`` since ``up`` began; ``name`` is set when a process became ready."""

    text: str
    seconds: float
    name: str = ""
