"""Frames of a node's wire read header by header."""

from __future__ import annotations

import socket
import struct

from glasshive.lab import onwire


def ipv4(source: str, target: str, protocol: int, content: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(content), 0, 0, 64, protocol, 0)
    return bytes(12) + b"\x08\x00" + head + socket.inet_aton(source) + socket.inet_aton(target) + content


ECHO = ipv4("10.244.0.2", "10.244.1.2", 1, b"\x08\x00" + bytes(62))
WRAPPED = ipv4(
    "172.30.0.11", "172.30.0.12", 17,
    struct.pack("!HHHH", 40000, 8472, 16 + len(ECHO), 0) + b"\x08\x00\x00\x00" + (4711).to_bytes(3) + b"\x00" + ECHO,
)  # fmt: skip


def test_a_native_request_has_one_header() -> None:
    found = onwire.parse(ECHO)
    assert found == onwire.Frame(onwire.Header("10.244.0.2", "10.244.1.2", 1, 84))
    assert [one["header"] for one in onwire.rows(found, str, "")] == ["IP", "ICMP"]


def test_a_wrapped_request_has_all_of_them_and_a_number() -> None:
    found = onwire.parse(WRAPPED)
    assert found is not None
    assert found.outer is not None
    assert (found.vni, found.outer.length, found.inner.length) == (4711, 134, 84)
    shown = onwire.rows(found, str, "N")
    assert [(one["header"], one["bytes"]) for one in shown] == [
        ("outer IP", 134), ("UDP", 114), ("VXLAN", 106), ("Ethernet", 98), ("IP", 84), ("ICMP", 64),
    ]  # fmt: skip


def test_what_is_no_request_is_left_alone() -> None:
    reply = ipv4("10.244.1.2", "10.244.0.2", 1, bytes(64))
    assert [onwire.parse(one) for one in (reply, b"", bytes(60), WRAPPED[:60])] == [None] * 4
