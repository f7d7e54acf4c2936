"""Frames of SPDY/3: 8 bytes of head, network byte order, then a body.

A control frame has its top bit set, 15 bits of version, 16 of type; a data frame has 31 bits of stream number instead.
Then come 8 bits of flags and 24 of length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

VERSION = 3
HEAD_BYTES = 8
BODY_LIMIT_BYTES = 1 << 24

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FLAG_FIN = 1

PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5


class ProtocolError(ValueError):
    """The other side does not speak SPDY/3."""


@dataclass(frozen=True, slots=True)
class Control:
    """A control frame."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Data:
    """A data frame."""

    stream: int
    flags: int
    body: bytes


class Reader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Control | Data]:
        """Frames that are complete now. Raises ProtocolError."""
        self._buffer += data
        frames: list[Control | Data] = []
        at = 0
        while len(self._buffer) - at >= HEAD_BYTES:
            first, rest = struct.unpack_from(">II", self._buffer, at)
            flags, length = rest >> 24, rest & 0xFFFFFF
            if len(self._buffer) - at < HEAD_BYTES + length:
                break
            body = bytes(self._buffer[at + HEAD_BYTES : at + HEAD_BYTES + length])
            at += HEAD_BYTES + length
            frames.append(_frame(first, flags, body))
        del self._buffer[:at]
        return frames


def _frame(first: int, flags: int, body: bytes) -> Control | Data:
    if not first & 0x80000000:
        return Data(first, flags, body)
    version = first >> 16 & 0x7FFF
    if version != VERSION:
        raise ProtocolError(f"a control frame of SPDY version {version}")
    return Control(first & 0xFFFF, flags, body)


def control(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A control frame's bytes."""
    return struct.pack(">HHI", 0x8000 | VERSION, kind, flags << 24 | len(body)) + body


def data(stream: int, body: bytes, *, fin: bool = False) -> bytes:
    """A data frame's bytes; ``body`` is shorter than 16 MiB."""
    return struct.pack(">II", stream, (FLAG_FIN if fin else 0) << 24 | len(body)) + body


def reset(stream: int, reason: int) -> bytes:
    """A RST_STREAM frame's bytes."""
    return control(RST_STREAM, struct.pack(">II", stream, reason))
