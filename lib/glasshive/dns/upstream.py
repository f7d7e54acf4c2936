"""Asking the resolver outside: random ids and ports, checks of what comes back, a cache that honours TTLs.

Each question goes out from a socket of its own, connected to the server: the kernel chooses its port and lets only that
server's answers in (RFC 5452). Clients that ask the same at the same time share one question.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from glasshive.dns import wire

PORT = 53
MAX_ENTRIES = 4096
MAX_TTL_SECONDS = 300
NEGATIVE_SECONDS = 30
MAX_PENDING = 1024
_FINAL = {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}

Key = tuple[dns.name.Name, dns.rdatatype.RdataType]


class UpstreamError(Exception):
    """No server outside gave a usable answer; the text says what was seen."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the resolver outside said, with TTLs as they are now."""

    rcode: dns.rcode.Rcode
    answer: tuple[dns.rrset.RRset, ...]
    authority: tuple[dns.rrset.RRset, ...]


class Upstream:
    """``servers`` are (address, port), tried in turn, ``rounds`` times. Times are in seconds."""

    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        *,
        timeout: float = 1.0,
        rounds: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.servers = tuple(servers)
        self.timeout = timeout
        self.rounds = rounds
        self._clock = clock
        self._cache: dict[Key, tuple[float, float, Told]] = {}  # -> taken in, forgotten at, what
        self._pending: dict[Key, asyncio.Task[Told]] = {}

    async def resolve(self, name: dns.name.Name, type_: dns.rdatatype.RdataType) -> Told:
        """Answer from the cache or from outside. Raises UpstreamError."""
        key = (name, type_)  # the library's names compare without regard to case
        kept = self._kept(key)
        if kept is not None:
            return kept
        task = self._pending.get(key)
        if task is None:
            if len(self._pending) >= MAX_PENDING:
                raise UpstreamError(f"{MAX_PENDING} questions wait already")
            task = self._pending[key] = asyncio.create_task(self._fetch(key))
            task.add_done_callback(lambda done: self._settled(key, done))
        return await asyncio.shield(task)

    def _settled(self, key: Key, task: asyncio.Task[Told]) -> None:
        del self._pending[key]
        if not task.cancelled():
            task.exception()  # has been seen, also when the last client has gone

    def _kept(self, key: Key) -> Told | None:
        found = self._cache.get(key)
        if found is None:
            return None
        taken, until, told = found
        now = self._clock()
        if now >= until:
            del self._cache[key]
            return None
        age = int(now - taken)
        return Told(told.rcode, _aged(told.answer, age), _aged(told.authority, age))

    async def _fetch(self, key: Key) -> Told:
        seen = "there is no server to ask"
        for server in self.servers * self.rounds:
            try:
                message = await asyncio.wait_for(exchange(server, *key), self.timeout)
            except TimeoutError:
                seen = f"{server[0]} did not answer within {self.timeout:g} s"
            except (OSError, EOFError, dns.exception.DNSException) as error:
                seen = f"{server[0]}: {error or type(error).__name__}"
            else:
                if message.rcode() in _FINAL:
                    return self._keep(key, message)
                seen = f"{server[0]} answered {dns.rcode.to_text(message.rcode())}"
        raise UpstreamError(seen)

    def _keep(self, key: Key, message: dns.message.Message) -> Told:
        told = Told(message.rcode(), tuple(message.answer), tuple(message.authority))
        seconds = lifetime(told)
        if seconds > 0:
            while len(self._cache) >= MAX_ENTRIES:
                del self._cache[next(iter(self._cache))]  # the oldest
            now = self._clock()
            self._cache[key] = (now, now + seconds, told)
        return told


def lifetime(told: Told) -> int:
    """Seconds that an answer may be kept: its shortest TTL; of a negative one, the SOA's (RFC 2308)."""
    if told.rcode == dns.rcode.NOERROR and told.answer:
        return min(MAX_TTL_SECONDS, *(records.ttl for records in told.answer))
    soa = next((r for r in told.authority if r.rdtype == dns.rdatatype.SOA), None)
    return min(NEGATIVE_SECONDS, soa.ttl, soa[0].minimum) if soa is not None else 0


def _aged(sets: tuple[dns.rrset.RRset, ...], seconds: int) -> tuple[dns.rrset.RRset, ...]:
    if not seconds:
        return sets
    return tuple(dns.rrset.from_rdata_list(one.name, max(0, one.ttl - seconds), list(one)) for one in sets)


async def exchange(server: tuple[str, int], name: dns.name.Name, type_: dns.rdatatype.RdataType) -> dns.message.Message:
    """Ask one server over UDP, and over TCP if the answer was truncated. Raises OSError, EOFError, DNSException."""
    query = dns.message.make_query(name, type_, use_edns=0, payload=wire.PAYLOAD_BYTES, id=secrets.randbits(16))
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[dns.message.Message] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Listener(query, answer), remote_addr=server)
    try:
        transport.sendto(query.to_wire())
        message = await answer
    finally:
        transport.close()
    return await _exchange_tcp(server, query) if message.flags & dns.flags.TC else message


class _Listener(asyncio.DatagramProtocol):
    """Waits for the answer to one query; does not listen to anything else."""

    def __init__(self, query: dns.message.Message, answer: asyncio.Future[dns.message.Message]) -> None:
        self._query = query
        self._answer = answer

    def datagram_received(self, data: bytes, _address: object) -> None:
        try:
            message = dns.message.from_wire(data, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError):
            return
        if self._query.is_response(message) and not self._answer.done():
            self._answer.set_result(message)

    def error_received(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)


async def _exchange_tcp(server: tuple[str, int], query: dns.message.Message) -> dns.message.Message:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(query.to_wire(prepend_length=True))
        size = int.from_bytes(await reader.readexactly(2), "big")
        message = dns.message.from_wire(await reader.readexactly(size))
    finally:
        writer.close()
    if not query.is_response(message):
        raise ConnectionError("an answer to another question")
    return message
