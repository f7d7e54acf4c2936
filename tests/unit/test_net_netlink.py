"""Encoding and decoding of rtnetlink messages, without a kernel."""

from __future__ import annotations

import socket
import struct

import pytest

from glasshive.errors import UsageError
from glasshive.net import netlink, netns, veth


def test_attributes_round_trip_with_padding() -> None:
    data = netlink.attr_text(3, "eth0") + netlink.attr_u32(4, 1500) + netlink.attr(1 | netlink.NLA_F_NESTED, b"abc")
    assert len(data) % 4 == 0
    assert netlink.attributes(data) == {3: b"eth0\0", 4: struct.pack("=I", 1500), 1: b"abc"}


def test_attributes_end_at_a_broken_length() -> None:
    assert netlink.attributes(struct.pack("=HH", 2, 7) + b"rest") == {}


def test_only_the_last_message_of_a_batch_asks_for_an_answer() -> None:
    batch = netlink.Batch()
    batch.add(netlink.RTM_NEWLINK, netlink.CREATE, "one", netlink.ifinfo(2))
    batch.add(netlink.RTM_NEWADDR, 0, "two", netlink.ifaddr(socket.AF_INET, 32, 2))
    data = batch.encoded()
    length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data)
    assert (kind, sequence) == (netlink.RTM_NEWLINK, 1)
    assert flags == netlink.CREATE | netlink.NLM_F_REQUEST
    _, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, length)
    assert (kind, sequence) == (netlink.RTM_NEWADDR, 2)
    assert flags == netlink.NLM_F_REQUEST | netlink.NLM_F_ACK
    assert len(batch) == 2


def test_macs_and_names() -> None:
    assert veth.mac_bytes("02:00:00:00:12:ff") == bytes.fromhex("0200000012ff")
    assert netns.path_of("gh-x").as_posix() == "/run/netns/gh-x"
    for bad in ("", "..", "a/b"):
        with pytest.raises(UsageError):
            netns.path_of(bad)


def test_a_pod_without_ipv6_gets_no_ipv6_messages() -> None:
    link = veth.PodLink("ghx", 100, "02:00:00:00:00:01", "02:00:00:00:00:02", 1500, "10.0.0.2", "", "10.0.0.1", "")
    assert not any("default route" in w for w in veth._host_up(link).what)
    what = veth._configuration(link).what
    assert what.count("default route") == 1
    assert "no link-local on eth0" not in what
