"""Tasks that must not die unnoticed.

A loop of the agent expects errors of its trade and goes on after them. What it does not expect is a fault in the
program: then the whole process ends, loudly, and its supervisor starts a fresh one, which takes over what is in the
kernel. An agent that lives on with a dead part would be worse than none.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)

RARELY = (50_000, 20, 50)
"""Thresholds of Python's garbage collector for a process that keeps many objects for long: with the usual ones it
takes as much time as reading 30,000 Services does. What agents drop is mostly freed without it."""
EXIT_FAULT = 70
"""Exit status of a process that found a fault in itself (EX_SOFTWARE of sysexits.h)."""


def collect_rarely() -> None:
    """Have the garbage collector look less often. For a process that is an agent and nothing else."""
    gc.set_threshold(*RARELY)


def start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Run ``work`` as a task whose failure ends the process."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_look)
    return task


async def stop(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for its end."""
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _look(task: asyncio.Task[None]) -> None:
    if task.cancelled() or task.exception() is None:
        return
    log.critical("task %s failed: the process ends", task.get_name(), exc_info=task.exception())
    logging.shutdown()
    os._exit(EXIT_FAULT)
