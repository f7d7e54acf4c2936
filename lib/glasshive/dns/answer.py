"""From a question to a response: the own zone first, aliases followed, everything else asked upstream."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from glasshive.dns import wire
from glasshive.dns.upstream import Upstream, UpstreamError
from glasshive.dns.zone import Zone

log = logging.getLogger(__name__)

TTL_SECONDS = 5
"""Of records: what a Service's name stands for may change at any moment."""
NEGATIVE_TTL_SECONDS = 30
"""How long a client may remember that a name or type does not exist (RFC 2308)."""
KNOWN_TYPES = ("A", "AAAA", "SRV", "PTR", "CNAME", "NS", "TXT")
ALIAS_HOPS = 8
CACHED_RESPONSES = 4096
_SOA_TIMES = f"7200 1800 86400 {NEGATIVE_TTL_SECONDS}"

Prepare = Callable[[str], Awaitable[None] | None]
"""Called with a name of the zone before it is looked up; what it returns, if anything, is awaited (in a task)."""


class NotReadyError(Exception):
    """Raised by a Prepare: the zone cannot say yet. The client is told SERVFAIL and asks another server, or again."""


class Resolver:
    """Answers messages. ``upstream`` None: names that are not in the zone are refused."""

    def __init__(self, zone: Zone, upstream: Upstream | None = None, prepare: Prepare = lambda _name: None) -> None:
        self.zone = zone
        self.upstream = upstream
        self._prepare = prepare
        self._ready_made: dict[tuple[bool, bytes], bytes] = {}
        self._made_at = -1

    def answer(self, data: bytes, *, udp: bool) -> bytes | Awaitable[bytes] | None:
        """Answer one message: at once where that is possible, else an awaitable; None: no answer is due."""
        if self._made_at != self.zone.serial:
            self._ready_made.clear()
            self._made_at = self.zone.serial
        key = (udp, data[2:])
        made = self._ready_made.get(key)
        if made is not None:
            return data[:2] + made
        query = wire.read_query(data)
        if not isinstance(query, wire.Query):
            return query
        limit = query.udp_limit if udp else wire.MAX_MESSAGE_BYTES
        if self.zone.origin(query.text) is None:
            return self._ask(query, query.name, limit)
        try:
            waiting = self._prepare(query.text)
        except NotReadyError:
            return wire.write_response(wire.refuse(query, dns.rcode.SERVFAIL), limit)
        if waiting is not None:
            return self._answer_later(waiting, query, limit)
        outside = self._fill(query)
        if outside is not None:
            return self._ask(query, outside, limit)
        answer = wire.write_response(query.response, limit)
        if all(len(records) == 1 for records in query.response.answer):  # several are shuffled anew each time
            if len(self._ready_made) >= CACHED_RESPONSES:
                self._ready_made.clear()
            self._ready_made[key] = answer[2:]
        return answer

    async def _answer_later(self, waiting: Awaitable[None], query: wire.Query, limit: int) -> bytes:
        try:
            await waiting
        except NotReadyError:
            return wire.write_response(wire.refuse(query, dns.rcode.SERVFAIL), limit)
        outside = self._fill(query)
        if outside is not None:
            return await self._ask(query, outside, limit)
        return wire.write_response(query.response, limit)

    async def _ask(self, query: wire.Query, name: dns.name.Name, limit: int) -> bytes:
        """Complete the response with what the resolver outside says of ``name``."""
        response = query.response
        if self.upstream is None:
            return wire.write_response(wire.refuse(query, dns.rcode.REFUSED), limit)
        try:
            told = await self.upstream.resolve(name, query.type)
        except UpstreamError as error:
            log.info("%s %s: %s", name, query.type.name, error)
            return wire.write_response(wire.refuse(query, dns.rcode.SERVFAIL), limit)
        response.set_rcode(told.rcode)
        response.answer.extend(told.answer)
        response.authority.extend(told.authority)
        return wire.write_response(response, limit)

    def _fill(self, query: wire.Query) -> dns.name.Name | None:
        """Fill the response from the zone. Returns a name outside that an alias leads to, None when complete."""
        response, owner = query.response, query.name
        response.flags |= dns.flags.AA
        for _ in range(ALIAS_HOPS):
            name = wire.text_of(owner)
            origin = self.zone.origin(name)
            if origin is None:
                return owner
            if query.type == dns.rdatatype.SOA and name == origin:
                response.answer.append(self._soa(origin, TTL_SECONDS))
                return None
            type_ = query.type.name if query.type != dns.rdatatype.ANY else self._some_type(name)
            found = self.zone.look_up(name, type_)
            if found.data:
                data = tuple(random.sample(found.data, len(found.data)))
                response.answer.append(wire.rrset(owner, type_, data, TTL_SECONDS))
                if type_ == "SRV":
                    self._add_targets(response, found.data)
                return None
            if not found.target:
                if not found.exists:
                    response.set_rcode(dns.rcode.NXDOMAIN)
                response.authority.append(self._soa(origin, NEGATIVE_TTL_SECONDS))
                return None
            response.answer.append(wire.rrset(owner, "CNAME", (f"{found.target}.",), TTL_SECONDS))
            owner = wire.name_of(found.target)
        wire.refuse(query, dns.rcode.SERVFAIL)  # aliases in a circle
        return None

    def _some_type(self, name: str) -> str:
        """What is answered to "any type": one that is there (RFC 8482)."""
        return next((one for one in KNOWN_TYPES if self.zone.look_up(name, one).data), "A")

    def _add_targets(self, response: dns.message.Message, data: tuple[str, ...]) -> None:
        """Addresses of what SRV records point to, so that the client need not ask again."""
        for target in dict.fromkeys(item.rpartition(" ")[2] for item in data):
            for address in ("A", "AAAA"):
                found = self.zone.look_up(target.rstrip("."), address)
                if found.data:
                    response.additional.append(wire.rrset(wire.name_of(target), address, found.data, TTL_SECONDS))

    def _soa(self, origin: str, ttl: int) -> dns.rrset.RRset:
        dot = f".{origin}." if origin else "."
        text = f"ns.dns{dot} hostmaster{dot} {self.zone.serial & 0xFFFFFFFF} {_SOA_TIMES}"
        return wire.rrset(wire.name_of(f"{origin}."), "SOA", (text,), ttl)
