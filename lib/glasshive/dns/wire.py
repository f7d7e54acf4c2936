"""Messages in and out: reading queries, refusing what is none, writing responses that fit.

The DNS library (dnspython) is used here, in ``answer`` and in ``upstream`` only.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from glasshive.dns.names import plain

HEADER = struct.Struct("!6H")
PLAIN_UDP_BYTES = 512
"""What a client without EDNS takes over UDP (RFC 1035)."""
PAYLOAD_BYTES = 1232
"""The most we send over UDP: fits the smallest IPv6 MTU, so that answers are not fragmented."""
MAX_MESSAGE_BYTES = 65_535
_QR, _OPCODE_MASK = 0x8000, 0x7800
_EVEN_THESE = (dns.rdatatype.RdataType.AXFR, dns.rdatatype.RdataType.IXFR)


class Query(NamedTuple):
    """A question that deserves an answer, and the empty response to it."""

    name: dns.name.Name  # as spelled by the client
    type: dns.rdatatype.RdataType
    response: dns.message.Message
    udp_limit: int  # bytes that the client takes over UDP

    @property
    def text(self) -> str:
        """The name in the form that zones know."""
        return text_of(self.name)


def read_query(data: bytes) -> Query | bytes | None:
    """Read a client's message: a Query, or the refusal to send back, or None for what must not be answered at all.

    A message without a whole header and a response are not answered: two servers would talk for ever.
    """
    if len(data) < HEADER.size or HEADER.unpack_from(data)[1] & _QR:
        return None
    try:
        message = dns.message.from_wire(data)
    except dns.message.ShortHeader:
        return None
    except (dns.exception.DNSException, ValueError, struct.error):
        return _refusal(data, dns.rcode.FORMERR)
    if message.opcode() != dns.opcode.QUERY:
        return _refusal(data, dns.rcode.NOTIMP)
    if len(message.question) != 1:
        return _refusal(data, dns.rcode.FORMERR)
    (question,) = message.question
    response = dns.message.make_response(message, recursion_available=True, our_payload=PAYLOAD_BYTES, pad=0)
    if message.edns > 0:
        response.set_rcode(dns.rcode.BADVERS)
        return response.to_wire()
    if question.rdclass != dns.rdataclass.IN or question.rdtype in _EVEN_THESE:
        response.set_rcode(dns.rcode.REFUSED)
        return response.to_wire()
    limit = min(max(message.payload, PLAIN_UDP_BYTES), PAYLOAD_BYTES) if message.edns == 0 else PLAIN_UDP_BYTES
    return Query(question.name, question.rdtype, response, limit)


def write_response(response: dns.message.Message, limit: int) -> bytes:
    """The message in at most ``limit`` bytes; what does not fit is left out and marked as truncated (TC)."""
    return response.to_wire(max_size=limit, prefer_truncation=True)


def refuse(query: Query, rcode: dns.rcode.Rcode) -> dns.message.Message:
    """Empty the response and give it this code."""
    response = query.response
    response.answer, response.authority, response.additional = [], [], []
    response.set_rcode(rcode)
    return response


def text_of(name: dns.name.Name) -> str:
    """A library's name in the form that zones know."""
    return plain(name.to_text(omit_final_dot=True)) if len(name) > 1 else ""


def rrset(owner: dns.name.Name, type_: str, data: tuple[str, ...], ttl: int) -> dns.rrset.RRset:
    """Records of one name and type, from presentation form."""
    return dns.rrset.from_rdata_list(owner, ttl, [_rdata(type_, item) for item in data])


@lru_cache(maxsize=8192)
def name_of(text: str) -> dns.name.Name:
    """The library's form of a name."""
    return dns.name.from_text(text)


@lru_cache(maxsize=8192)
def _rdata(type_: str, text: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, type_, text)


def _refusal(data: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A header alone: the question may be unreadable."""
    ident, flags, *_ = HEADER.unpack_from(data)
    keep = flags & (_OPCODE_MASK | dns.flags.RD)
    return HEADER.pack(ident, _QR | keep | dns.flags.RA | rcode, 0, 0, 0, 0)


def warm_up() -> None:
    """Have the library import what it otherwise imports at the first record of each type; before forking."""
    for type_, text in (
        ("A", "192.0.2.1"),
        ("AAAA", "2001:db8::1"),
        ("CNAME", "."),
        ("NS", "."),
        ("PTR", "."),
        ("SRV", "0 0 0 ."),
        ("TXT", "warm"),
        ("SOA", ". . 0 0 0 0 0"),
    ):
        _rdata(type_, text)
