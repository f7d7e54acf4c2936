"""The SPDY/3.1 subset under kubectl port-forward, on bytes."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.cluster.embedded.kubelet.spdy import frames
from glasshive.cluster.embedded.kubelet.spdy.connection import Answer, Connection, Event, Opened, Received, Reset
from glasshive.cluster.embedded.kubelet.spdy.headers import DICTIONARY, HeaderReader, HeaderWriter

ERROR_STREAM = {"streamtype": "error", "port": "8080", "requestid": "0"}


def syn_stream(writer: HeaderWriter, stream: int, headers: dict[str, str], *, fin: bool = False) -> bytes:
    body = struct.pack(">IIH", stream, 0, 0) + writer.write(headers)
    return frames.control(frames.SYN_STREAM, body, frames.FLAG_FIN if fin else 0)


def test_the_dictionary_is_the_specifications() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2, "the id that every SPDY/3 header block begins with"
    assert HeaderWriter().write({})[2:6] == bytes.fromhex("e3c6a7c2")


def test_a_frame_byte_by_byte() -> None:
    assert frames.control(frames.PING, b"\0\0\0\1").hex() == "800300060000000400000001"
    assert frames.data(5, b"hi", fin=True).hex() == "00000005010000026869"
    assert frames.reset(3, frames.REFUSED_STREAM).hex() == "80030003000000080000000300000003"


def conversation() -> tuple[bytes, list[Event]]:
    writer = HeaderWriter()
    data_stream = {**ERROR_STREAM, "streamtype": "data"}
    sent = (
        frames.control(frames.SETTINGS, bytes(4))
        + syn_stream(writer, 1, ERROR_STREAM, fin=True)
        + syn_stream(writer, 3, data_stream)
        + frames.data(3, b"GET / HTTP/1.1\r\n\r\n")
        + frames.control(frames.PING, struct.pack(">I", 7))
        + frames.control(frames.PING, struct.pack(">I", 8))
        + frames.control(frames.WINDOW_UPDATE, struct.pack(">II", 3, 1000))
        + frames.data(3, b"", fin=True)
        + frames.reset(3, frames.CANCEL)
        + frames.control(frames.GOAWAY, bytes(8))
    )
    events: list[Event] = [
        Opened(1, ERROR_STREAM, True),
        Opened(3, data_stream, False),
        Received(3, b"GET / HTTP/1.1\r\n\r\n", False),
        Answer(frames.control(frames.PING, struct.pack(">I", 7))),
        Received(3, b"", True),
        Reset(3),
    ]
    return sent, events


@given(st.lists(st.integers(1, 300), max_size=20))
def test_events_do_not_depend_on_how_the_bytes_arrive(cuts: list[int]) -> None:
    sent, expected = conversation()
    connection, found, at = Connection(), list[Event](), 0
    for size in [*cuts, len(sent)]:
        found += connection.feed(sent[at : at + size])
        at += size
    assert found == expected


def test_replies_can_be_read_in_order() -> None:
    connection, reader = Connection(), HeaderReader()
    for stream in (1, 3, 5):
        (reply,) = frames.Reader().feed(connection.accept(stream))
        assert isinstance(reply, frames.Control)
        assert (reply.kind, reply.body[:4]) == (frames.SYN_REPLY, struct.pack(">I", stream))
        assert reader.read(reply.body[4:]) == {}


@given(st.dictionaries(st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1), st.text(), max_size=9))
def test_headers_round_trip(headers: dict[str, str]) -> None:
    writer, reader = HeaderWriter(), HeaderReader()
    for _ in range(2):
        assert reader.read(writer.write(headers)) == headers


BOMB = zlib.compressobj(zdict=DICTIONARY)


@pytest.mark.parametrize(
    "sent",
    [
        frames.control(frames.SYN_STREAM, b"short"),
        frames.control(frames.SYN_STREAM, bytes(10) + b"this is not compressed"),
        frames.control(frames.RST_STREAM, b""),
        frames.control(frames.PING, b""),
        struct.pack(">HHI", 0x8002, frames.PING, 4) + bytes(4),
        frames.control(frames.SYN_STREAM, bytes(10) + BOMB.compress(bytes(1 << 20)) + BOMB.flush(zlib.Z_SYNC_FLUSH)),
    ],
    ids=["short", "plain", "empty reset", "empty ping", "version 2", "too long"],
)
def test_what_is_not_spdy_is_said(sent: bytes) -> None:
    with pytest.raises(frames.ProtocolError):
        Connection().feed(sent)


@given(st.binary(max_size=400))
def test_any_bytes_are_events_or_a_protocol_error(noise: bytes) -> None:
    with contextlib.suppress(frames.ProtocolError):
        Connection().feed(noise)
