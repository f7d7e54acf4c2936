"""Expedited grace periods while pods come and go: attaching and detaching devices waits for them."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from glasshive import bpf

HURRY_SECONDS = 0.25
"""How long RCU stays expedited after the last change to pods' devices."""


class Hurry:
    """A switch that goes off by itself. Belongs to one event loop."""

    def __init__(self) -> None:
        self._on: ExitStack | None = None
        self._calm: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Grace periods are expedited from now on until shortly after the last call."""
        if self._on is None:
            self._on = ExitStack()
            self._on.enter_context(bpf.expedited_rcu())
        if self._calm is not None:
            self._calm.cancel()
        self._calm = asyncio.get_running_loop().call_later(HURRY_SECONDS, self.end)

    def end(self) -> None:
        """Back to normal, now."""
        if self._calm is not None:
            self._calm.cancel()
            self._calm = None
        if self._on is not None:
            self._on.close()
            self._on = None
