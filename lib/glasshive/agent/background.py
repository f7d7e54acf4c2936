"""Tasks that must not die unnoticed.

A loop of the agent expects errors of its trade and goes on after them. What it does not expect is a fault in the
program: then the whole process ends, loudly, and its supervisor starts a fresh one, which takes over what is in the
kernel. An agent that lives on with a dead part would be worse than none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)

EXIT_FAULT = 70
"""Exit status of a process that found a fault in itself (EX_SOFTWARE of sysexits.h)."""


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
