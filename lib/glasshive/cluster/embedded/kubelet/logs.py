"""Reading container logs (``crilog`` has the format): selected, trimmed and, if wanted, followed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

FOLLOW_SECONDS = 0.1
CHUNK_BYTES = 65536


@dataclass(frozen=True)
class LogOptions:
    """Options of ``kubectl logs``. ``since`` is seconds since the epoch."""

    tail: int | None = None
    follow: bool = False
    timestamps: bool = False
    previous: bool = False
    since: float | None = None
    limit_bytes: int | None = None


def runs(directory: Path) -> list[int]:
    """Numbers of the runs that have a log, oldest first."""
    return sorted(int(path.stem) for path in directory.glob("*.log") if path.stem.isdigit())


def _text(entry: bytes, options: LogOptions) -> bytes | None:
    """One entry as ``kubectl logs`` shows it; None if it is too old."""
    stamp, _, rest = entry.partition(b" ")
    _stream, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    if options.since is not None and datetime.fromisoformat(_micro(stamp.decode())).timestamp() < options.since:
        return None
    end = b"" if tag == b"P" else b"\n"
    return (stamp + b" " + text if options.timestamps else text) + end


def _micro(stamp: str) -> str:
    """A time stamp cut to microseconds, which is all that datetime reads."""
    return f"{stamp[:26]}+00:00"


async def read(directory: Path, options: LogOptions, living: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Pieces of the log of the newest run (or the one before). Following ends when ``living`` says no more.

    Raises FileNotFoundError if there is no such run.
    """
    numbers = runs(directory)
    wanted = numbers[-2:-1] if options.previous else numbers[-1:]
    if not wanted:
        raise FileNotFoundError(directory)
    number = wanted[0]
    path = directory / f"{number}.log"
    entries: deque[bytes] = deque(maxlen=options.tail)
    rotated = directory / f"{number}.log.1"
    left = options.limit_bytes if options.limit_bytes is not None else 1 << 62
    with contextlib.ExitStack() as files:
        file = files.enter_context(path.open("rb"))
        if rotated.exists():
            entries.extend(rotated.read_bytes().splitlines())
        pieces = file.read().split(b"\n")
        rest = pieces.pop()
        entries.extend(pieces)
        for entry in entries:
            text = _text(entry, options)
            if text and left > 0:
                yield text[:left]
                left -= len(text)
        while options.follow and left > 0:
            data = file.read(CHUNK_BYTES)
            if not data:
                if not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # moved aside for being too long
                    file = files.enter_context(path.open("rb"))
                elif not living() or (directory / f"{number + 1}.log").exists():
                    return
                else:
                    await asyncio.sleep(FOLLOW_SECONDS)
                continue
            *whole, rest = (rest + data).split(b"\n")
            joined = b"".join(text for text in (_text(entry, options) for entry in whole) if text)
            if joined:
                yield joined[:left]
                left -= len(joined)


def since_seconds(text: str) -> float:
    """``sinceSeconds`` as seconds since the epoch."""
    return time.time() - float(text)


def since_time(text: str) -> float:
    """``sinceTime`` as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
