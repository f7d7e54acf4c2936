"""Frames of the lab's graders: built, read back, and checked against scapy's idea of them."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP

from glasshive.lab import packets
from packets import Ether

BUILT = {
    "udp": packets.udp(b"bees", target_port=53, ttl=9),
    "udp of odd length": packets.udp(b"bee"),
    "udp without content": packets.udp(b""),
    "udp with options": packets.udp(b"bees", options=bytes([1]) * 8),
    "tcp": packets.tcp(b"hello", source="192.0.2.1", target="198.51.100.7", target_port=443, flags="PA"),
    "ping": packets.ping(b"bees"),
}


@pytest.mark.parametrize("name", BUILT)
def test_scapy_computes_the_same_checksums(name: str) -> None:
    frame = BUILT[name]
    again = Ether(frame)
    for layer in (IP, TCP, UDP):
        if again.haslayer(layer):
            again[layer].chksum = None
    if again.haslayer("ICMP"):
        again["ICMP"].chksum = None
    assert bytes(again) == frame


@pytest.mark.parametrize("name", BUILT)
def test_what_was_built_is_read_back(name: str) -> None:
    read = packets.read(BUILT[name])
    assert read is not None
    assert read.checksums_hold
    assert (read.source_mac, read.target_mac) == (packets.SENDER_MAC, packets.RECEIVER_MAC)


def test_fields_are_where_they_belong() -> None:
    read = packets.read(BUILT["tcp"])
    assert read is not None
    assert (read.source, read.target, read.protocol) == ("192.0.2.1", "198.51.100.7", packets.TCP)
    assert (read.source_port, read.target_port, read.payload) == (40001, 443, b"hello")
    short = packets.read(packets.udp(b"bees", ttl=9, options=bytes([1]) * 4))
    assert short is not None
    assert (short.ttl, short.payload, short.target_port) == (9, b"bees", 9000)


@pytest.mark.parametrize("at", [16, 22, 27, 35, 44])
def test_a_flipped_bit_is_noticed(at: int) -> None:
    """In the IPv4 header (length, TTL, source), in the ports, in the content."""
    frame = bytearray(packets.udp(b"bees"))
    frame[at] ^= 1
    read = packets.read(bytes(frame))
    assert read is None or not read.checksums_hold


def test_a_datagram_may_leave_its_checksum_out() -> None:
    read = packets.read(packets.udp(checked=False))
    assert read is not None
    assert read.checksums_hold


@pytest.mark.parametrize(
    "frame", [b"", bytes(13), packets.ethernet(packets.ETH_ARP, bytes(46)), packets.udp()[:30]], ids=len
)
def test_what_is_no_ipv4_frame_is_none(frame: bytes) -> None:
    assert packets.read(frame) is None
