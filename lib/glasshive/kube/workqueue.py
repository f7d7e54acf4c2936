"""A queue of keys for a controller: each key is worked on by at most one worker, and failures come back later.

A key that is added while it waits is kept once; a key that is added while it is being worked on runs again afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from glasshive.errors import ApiError, GlasshiveError
from glasshive.kube.backoff import Backoff

K = TypeVar("K", bound=Hashable)

AWAY_SECONDS = 1.0
"""A server that is away is asked again at least this often: when it is back, work goes on soon."""

log = logging.getLogger(__name__)


class WorkQueue(Generic[K]):
    """Run ``reconcile(key)`` for every key added, with ``workers`` at a time.

    ``reconcile`` may return a number of seconds after which it wants the key again. If it raises, the key is retried
    with growing waits between ``first_delay`` and ``longest_delay`` seconds.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[K], Awaitable[float | None]],
        *,
        workers: int = 4,
        first_delay: float = 0.01,
        longest_delay: float = 10.0,
    ) -> None:
        self.name = name
        self._reconcile = reconcile
        self._workers = workers
        self._delays = (first_delay, longest_delay)
        self._queue: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, Backoff] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, key: K) -> None:
        """Have ``key`` reconciled soon."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Have ``key`` reconciled in ``seconds``; of several such wishes the earliest counts."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    def start(self) -> None:
        """Start the workers in the running loop. Keys may have been added before."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._work(), name=f"{self.name}-{i}") for i in range(self._workers)]

    async def stop(self) -> None:
        """Stop the workers; what is under way is cancelled."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting and nothing is being worked on (timers do not count)."""
        return not self._waiting and not self._busy

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._waiting.discard(key)
            self._busy.add(key)
            try:
                await self._once(key)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _once(self, key: K) -> None:
        try:
            after = await self._reconcile(key)
        except ApiError as error:
            # Conflicts, objects that vanished and a server that restarts are a controller's daily bread.
            usual = error.code in {404, 409, 503}
            log.log(logging.DEBUG if usual else logging.WARNING, "%s: %s: %s", self.name, key, error)
            self._retry(key, AWAY_SECONDS if error.code == 503 else None)
        except GlasshiveError as error:
            log.warning("%s: %s: %s", self.name, key, error)
            self._retry(key)
        except Exception:  # one object that a controller cannot digest must not stop the others
            log.exception("%s: %s failed", self.name, key)
            self._retry(key)
        else:
            self._failures.pop(key, None)
            if after is not None:
                self.add_after(key, after)

    def _retry(self, key: K, longest: float | None = None) -> None:
        wait = self._failures.setdefault(key, Backoff(*self._delays)).next()
        self.add_after(key, wait if longest is None else min(wait, longest))
