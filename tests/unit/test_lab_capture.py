"""Whether a packet that a pod was given is of a probe: a datagram to a port is no TCP connection to it."""

from __future__ import annotations

import socket
import struct

import pytest

from glasshive.lab.checks.capture import is_from

SOURCES = ("10.244.0.2", "fd00:10:244::2")


def packet(source: str, protocol: int, port: int) -> bytes:
    """An IP packet with the first four bytes of its transport header: source port, destination port."""
    ports = struct.pack("!HH", 40_000, port)
    if ":" in source:
        address = socket.inet_pton(socket.AF_INET6, source)
        return struct.pack("!IHBB", 6 << 28, len(ports), protocol, 64) + address + bytes(16) + ports
    address = socket.inet_pton(socket.AF_INET, source)
    return struct.pack("!BBHHHBBH", 0x45, 0, 24, 0, 0, 64, protocol, 0) + address + bytes(4) + ports


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("sent", [socket.IPPROTO_TCP, socket.IPPROTO_UDP])
@pytest.mark.parametrize("wanted", [socket.IPPROTO_TCP, socket.IPPROTO_UDP])
def test_a_packet_is_of_one_protocol(source: str, sent: int, wanted: int) -> None:
    assert is_from(packet(source, sent, 9000), source, 9000, wanted) == (sent == wanted)


@pytest.mark.parametrize("source", SOURCES)
def test_port_source_family_and_length_count(source: str) -> None:
    whole = packet(source, socket.IPPROTO_TCP, 9000)
    assert not is_from(whole, source, 9001, socket.IPPROTO_TCP)
    assert not is_from(whole, "10.244.0.3", 9000, socket.IPPROTO_TCP)
    assert not is_from(whole, "fd00:10:244::3", 9000, socket.IPPROTO_TCP)
    assert not is_from(whole[:-1], source, 9000, socket.IPPROTO_TCP)
    assert not is_from(b"", source, 9000, socket.IPPROTO_TCP)
