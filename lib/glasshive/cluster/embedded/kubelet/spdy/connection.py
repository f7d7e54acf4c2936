"""The server's side of one SPDY connection without any I/O: bytes in, events out; calls in, bytes out."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from glasshive.cluster.embedded.kubelet.spdy import frames
from glasshive.cluster.embedded.kubelet.spdy.headers import HeaderReader, HeaderWriter


@dataclass(frozen=True, slots=True)
class Opened:
    """The client has opened a stream; ``fin``: and will send nothing on it."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class Received:
    """Data of a stream; ``fin``: the last."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The client has given a stream up."""

    stream: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes that the protocol itself owes the client, such as the answer to a ping."""

    data: bytes


Event = Opened | Received | Reset | Answer


class Connection:
    """One connection. Streams that the client opens have odd numbers, and there are no others here."""

    def __init__(self) -> None:
        self._reader = frames.Reader()
        self._read_headers = HeaderReader()
        self._write_headers = HeaderWriter()

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes mean. Raises frames.ProtocolError."""
        events: list[Event] = []
        for frame in self._reader.feed(data):
            if isinstance(frame, frames.Data):
                events.append(Received(frame.stream, frame.body, bool(frame.flags & frames.FLAG_FIN)))
            else:
                event = self._control(frame)
                if event is not None:
                    events.append(event)
        return events

    def _control(self, frame: frames.Control) -> Event | None:
        try:
            if frame.kind == frames.SYN_STREAM:
                stream, _associated, _priority = struct.unpack_from(">IIH", frame.body)
                headers = self._read_headers.read(frame.body[10:])
                return Opened(stream & 0x7FFFFFFF, headers, bool(frame.flags & frames.FLAG_FIN))
            if frame.kind == frames.HEADERS:
                self._read_headers.read(frame.body[4:])  # nothing to us, but the compression's state goes on
            elif frame.kind == frames.RST_STREAM:
                return Reset(struct.unpack_from(">I", frame.body)[0] & 0x7FFFFFFF)
            elif frame.kind == frames.PING:
                (number,) = struct.unpack(">I", frame.body)
                # Odd ones are the client's; an even one would be an answer to a ping of ours, and there are none.
                return Answer(frames.control(frames.PING, frame.body)) if number % 2 else None
        except struct.error as error:
            raise frames.ProtocolError(f"a control frame of kind {frame.kind}: {error}") from None
        return None  # SETTINGS, GOAWAY and WINDOW_UPDATE ask nothing of us

    def accept(self, stream: int) -> bytes:
        """Bytes that accept a stream. To be sent in the order of the calls."""
        return frames.control(frames.SYN_REPLY, struct.pack(">I", stream) + self._write_headers.write({}))
