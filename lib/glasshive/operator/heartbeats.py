"""How long a node has been silent, by the operator's own clock. Pure.

Only time during which the operator itself was awake counts: after it was stopped, or had no server to ask, all nodes
look silent, and none may be given up for that.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class _Pulse:
    sign: str
    looked_at: float
    silent: float = 0.0


class Heartbeats:
    """Silence of nodes in seconds. ``longest_step`` bounds what counts between two looks."""

    def __init__(self, longest_step: float) -> None:
        self._longest_step = longest_step
        self._pulses: dict[str, _Pulse] = {}

    def look(self, node: str, sign: str, now: float) -> float:
        """Note the node's newest sign of life (any text that changes with it); return the seconds of silence."""
        pulse = self._pulses.get(node)
        if pulse is None or pulse.sign != sign:
            self._pulses[node] = _Pulse(sign, now)
            return 0.0
        pulse.silent += min(max(0.0, now - pulse.looked_at), self._longest_step)
        pulse.looked_at = now
        return pulse.silent

    def excuse(self, node: str, now: float) -> None:
        """Begin to count anew, although there was no sign: nobody could have heard one."""
        pulse = self._pulses.get(node)
        if pulse is not None:
            pulse.silent, pulse.looked_at = 0.0, now

    def forget(self, node: str) -> None:
        """Forget a node."""
        self._pulses.pop(node, None)
