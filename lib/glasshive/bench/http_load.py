"""Writers and watchers for ``bench api``: requests prepared beforehand, as little client as HTTP allows.

The writers run in the harness; the watchers in a process of their own (``python -m glasshive.bench.http_load``), so
that what is late is the server and not a busy client. A write carries the moment it was sent (CLOCK_MONOTONIC, which
all processes share), as ``@nanoseconds@`` in its value: a watcher's latency counts from there.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from glasshive.errors import ProcessError

_STAMP = re.compile(rb"@(\d+)@")
_ETCD_VALUE = re.compile(rb'"value":"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a unix socket's path, or a port of 127.0.0.1."""

    socket: str = ""
    port: int = 0

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect."""
        if self.socket:
            return await asyncio.open_unix_connection(self.socket)
        return await asyncio.open_connection("127.0.0.1", self.port)


def stamp() -> str:
    """This moment, for a watcher to find."""
    return f"@{time.monotonic_ns()}@"


def post(path: str, body: object) -> bytes:
    """A whole HTTP/1.1 request."""
    data = json.dumps(body, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


class Writer:
    """One client: a connection, and one request after the other on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: Address) -> Writer:
        """Connect."""
        return cls(*await address.open())

    async def ask(self, request: bytes) -> bytes:
        """Send a request and read its answer. Raises ProcessError unless its status is 2xx."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        body = await self._reader.readexactly(int(size[1])) if size else b""
        if not head.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")):
            raise ProcessError(f"a write was refused: {head.splitlines()[0].decode()} {body[:200].decode()}")
        return body

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def write_for(address: Address, clients: int, seconds: float, request: Callable[[int], bytes]) -> int:
    """``clients`` connections write as fast as they are answered; how many writes were answered in ``seconds``."""
    numbers = iter(range(1 << 40))
    end = time.monotonic() + seconds

    async def one(writer: Writer) -> int:
        done = 0
        while time.monotonic() < end:
            await writer.ask(request(next(numbers)))
            done += 1
        return done

    writers = [await Writer.open(address) for _ in range(clients)]
    try:
        return sum(await asyncio.gather(*map(one, writers)))
    finally:
        for writer in writers:
            writer.close()


async def write_all(address: Address, requests: Iterable[bytes], clients: int = 16) -> None:
    """Send all requests, ``clients`` at a time."""
    waiting: Iterator[bytes] = iter(requests)

    async def one() -> None:
        writer = await Writer.open(address)
        for request in waiting:
            await writer.ask(request)
        writer.close()

    await asyncio.gather(*(one() for _ in range(clients)))


async def write_at(address: Address, rate: float, count: int, request: Callable[[int], bytes]) -> None:
    """``count`` writes at ``rate`` per second, by the clock: a slow answer does not make the next one late."""
    writer = await Writer.open(address)
    began = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        await writer.ask(request(number))
    writer.close()


def latencies(data: bytes, now: int) -> list[float]:
    """Milliseconds since the writes that a piece of a watch tells of. etcd's values are in base64."""
    values = [base64.b64decode(value) for value in _ETCD_VALUE.findall(data)] or [data]
    return [(now - int(sent)) / 1e6 for value in values for sent in _STAMP.findall(value)]


class Watcher(asyncio.Protocol):
    """One watch: ``open`` is done once the server has answered, ``ended`` when ``events`` events have come."""

    def __init__(self, request: bytes, events: int) -> None:
        loop = asyncio.get_running_loop()
        self.open: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.found: list[float] = []
        self._request, self._events, self._rest = request, events, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note what has come; a last line that is not whole yet waits for its rest."""
        now = time.monotonic_ns()
        if not self.open.done():
            good = data.startswith(b"HTTP/1.1 200")
            self.open.set_result(None) if good else self.open.set_exception(ProcessError(f"watch: {data[:80]!r}"))
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        self.found += latencies(whole + newline, now)
        if len(self.found) >= self._events and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if something is still missing."""
        for future in (self.open, self.ended):
            if not future.done():
                future.set_exception(ProcessError(f"a watch ended after {len(self.found)} events: {exc}"))


async def watch(spec: dict[str, Any]) -> list[float]:
    """Open ``watchers`` watches, say "ready", and give the latencies of ``events`` events on each."""
    address = Address(**spec["address"])
    request = spec["request"].encode()
    loop = asyncio.get_running_loop()
    watchers = [Watcher(request, spec["events"]) for _ in range(spec["watchers"])]
    for watcher in watchers:
        if address.socket:
            await loop.create_unix_connection(lambda watcher=watcher: watcher, address.socket)  # type: ignore[misc]
        else:
            await loop.create_connection(lambda watcher=watcher: watcher, "127.0.0.1", address.port)  # type: ignore[misc]
    async with asyncio.timeout(spec["timeout"]):
        await asyncio.gather(*(watcher.open for watcher in watchers))
        print("ready", flush=True)
        await asyncio.gather(*(watcher.ended for watcher in watchers))
    return [one for watcher in watchers for one in watcher.found]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(watch(json.loads(sys.argv[1])))))
