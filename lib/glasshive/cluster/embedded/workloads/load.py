"""Load generator: many connections at once, each sending a request, waiting for the answer, and again.

Prints one JSON line an interval and one at the end, so that a notebook can follow the pod's log: ``{"seconds": 1.0,
"requests": 4000, "errors": 0, "connects": 200, "rate": 4000.0, "p50_ms": .., "p99_ms": .., "max_ms": ..}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PAYLOAD = b"x" * 64


@dataclass(slots=True)
class Tally:
    """What happened in one stretch of time. Latencies in seconds."""

    requests: int = 0
    errors: int = 0
    connects: int = 0
    latencies: list[float] = field(default_factory=list)
    last_error: str = ""

    def line(self, seconds: float, *, final: bool = False) -> str:
        """The JSON line."""
        ordered = sorted(self.latencies)
        result: dict[str, object] = {
            "seconds": round(seconds, 3),
            "requests": self.requests,
            "errors": self.errors,
            "connects": self.connects,
            "rate": round(self.requests / seconds, 1) if seconds else 0.0,
        }
        for name, part in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0)):
            result[name] = round(ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1e3, 3) if ordered else None
        if self.last_error:
            result["error"] = self.last_error
        return json.dumps(result | ({"final": True} if final else {}))


class Load:
    """One run. A broken connection counts as an error and is made anew."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        target = urlsplit(options.url if "://" in options.url else f"tcp://{options.url}")
        self._host, self._http = target.hostname or "", target.scheme == "http"
        self._port = target.port or 80
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        self._request = f"GET {path} HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n".encode() if self._http else PAYLOAD
        self._now, self._total = Tally(), Tally()
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Run for the duration (0: until SIGTERM); status 1 if anything failed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        started = time.monotonic()
        tasks = [asyncio.create_task(self._worker()) for _ in range(self._options.connections)]
        if self._options.duration:
            loop.call_later(self._options.duration, self._stop.set)
        before = started
        while not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), self._options.interval)
            except TimeoutError:
                before = self._report(before)
        pending = set(tasks)
        while pending:  # more than once: Python 3.11's wait_for loses a cancellation that meets its result
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.2)
        self._report(before, quiet=True)
        print(self._total.line(time.monotonic() - started, final=True), flush=True)
        return 1 if self._total.errors else 0

    def _report(self, before: float, *, quiet: bool = False) -> float:
        now = time.monotonic()
        stretch, self._now = self._now, Tally()
        if not quiet:
            print(stretch.line(now - before), flush=True)
        total = self._total
        total.requests += stretch.requests
        total.errors += stretch.errors
        total.connects += stretch.connects
        total.latencies += stretch.latencies[
            :: max(1, len(stretch.latencies) // 2000)
        ]  # a sample bounds a long run's memory
        total.last_error = stretch.last_error or total.last_error
        return now

    async def _worker(self) -> None:
        while True:
            try:
                await self._connection()
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self._now.errors += 1
                self._now.last_error = f"{type(error).__name__}: {error}"
                await asyncio.sleep(0.05)

    async def _connection(self) -> None:
        patience = self._options.timeout
        reader, writer = await asyncio.wait_for(asyncio.open_connection(self._host, self._port), patience)
        self._now.connects += 1
        try:
            while True:
                begun = time.monotonic()
                writer.write(self._request)
                await asyncio.wait_for(self._answer(reader), patience)
                self._now.requests += 1
                self._now.latencies.append(time.monotonic() - begun)
                if self._options.reconnect:
                    return
                if self._options.rate:
                    pause = self._options.connections / self._options.rate
                    await asyncio.sleep(max(0.0, begun + pause - time.monotonic()))
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> None:
        if not self._http:
            await reader.readexactly(len(PAYLOAD))
            return
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        await reader.readexactly(int(length.partition(b":")[2]))


def main(args: list[str]) -> int:
    """Parse ``URL`` (http://host:port/path or tcp://host:port) and options, run."""
    parser = argparse.ArgumentParser(prog="load", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--duration", type=float, default=0.0, help="seconds; 0 until SIGTERM")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between lines")
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second over all connections; 0 no limit")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds for a connection or an answer")
    parser.add_argument("--reconnect", action="store_true", help="a new connection for each request")
    try:
        options = parser.parse_args(args)
    except SystemExit:
        return 2
    try:
        return asyncio.run(Load(options).run())
    except OSError as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
