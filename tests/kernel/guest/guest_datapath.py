"""The shipped datapath on the oldest kernel that is supported: it loads, and packets take the same walk."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

import datapath as dp
import datapath_policy as pol
import datapath_services as sv
import packets as pk
from datapath_node import LO, furnish


@contextlib.contextmanager
def _node() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config()) as path:
        furnish(path)
        for family in pk.FAMILIES:
            path.add_endpoint(pk.address("server", family), LO, identity=1002)
        yield path


def check_datapath_loads(_objects: Path) -> None:
    with dp.loaded(dp.config(flags=15, overlay_ifindex=4)) as path:
        devices = {"from_pod", "to_pod", "from_netdev", "to_netdev", "from_host", "from_overlay"}
        sockets = {f"sock_{hook}{family}" for hook in ("connect", "sendmsg", "recvmsg", "getpeer") for family in (4, 6)}
        assert set(path.programs) == devices | sockets


def check_datapath_delivers_and_tracks(_objects: Path) -> None:
    with _node() as path:
        for family in pk.FAMILIES:
            there = pk.tcp("client", "server", family, flags="S")
            back = pk.reply(there)
            for packet in (there, back, there, back):
                ran = path.run("from_pod", bytes(packet))
                assert (ran.retval, ran.data_out) == (dp.REDIRECT, pk.delivered(packet))
        assert len(path.rows("conntrack")) == len(pk.FAMILIES)
        assert path.drops() == {}


def check_datapath_masquerades(_objects: Path) -> None:
    with _node() as path:
        for family in pk.FAMILIES:
            packet = pk.udp("client", "world", family, sport=1234)
            sent = pk.Ether(path.run("from_pod", bytes(packet)).data_out)
            assert sent.payload.src == pk.address("node", family)
            answer = path.run("from_netdev", bytes(pk.reply(sent, ttl=64)))
            assert answer.data_out == pk.delivered(pk.reply(packet, ttl=64))
            complaint = path.run("from_netdev", bytes(pk.error("unreachable", sent, src="world")))
            assert complaint.retval == dp.REDIRECT
            assert pk.checksums_are_right(complaint.data_out)


def check_datapath_services(_objects: Path) -> None:
    with _node() as path:
        services = sv.Services(path)
        for family in pk.FAMILIES:
            services.add(sv.VIP[family], 80, "tcp", [("server", 8080)], flags=sv.AFFINITY, affinity_s=100)
            services.add(sv.ANY[family], 30_080, "tcp", [("remote", 8080)], type_=sv.NODE_PORT)
            there = path.run("from_pod", bytes(sv.call("tcp", "client", sv.VIP[family], family)))
            assert sv.ends(pk.Ether(there.data_out))[2:] == (pk.address("server", family), 8080)
            answer = sv.call("tcp", "server", "client", family, sport=8080, dport=40_001, flags="SA")
            back = path.run("from_pod", bytes(answer))
            assert sv.ends(pk.Ether(back.data_out))[:2] == (sv.VIP[family], 80)
            asked = sv.call("tcp", "world", "node", family, dport=30_080)
            there = path.run("from_netdev", bytes(asked))
            back = path.run("from_netdev", bytes(pk.reply(pk.Ether(there.data_out), ttl=64)))
            assert sv.ends(pk.Ether(back.data_out))[:2] == (pk.address("node", family), 30_080)
        assert path.drops() == {}


def check_datapath_drops_for_a_reason(_objects: Path) -> None:
    with _node() as path:
        assert path.run("from_pod", bytes(pk.tcp("stranger", "server", 4))).retval == dp.SHOT
        assert path.drops() == {("GH_DROP_INVALID_SOURCE_IP", 2): 1}


def check_datapath_judges_by_policy(_objects: Path) -> None:
    with dp.loaded(dp.config(flags=pol.FLAGS)) as path:
        furnish(path)
        for family in pk.FAMILIES:
            pol.release(path)
            ranges = pol.peer(pol.port(6, 4096, bits=12))
            pol.enforce(path, "server", 5, ingress={1001: ranges})
            there = pk.tcp("client", "server", family, dport=4100)
            assert path.run("from_pod", bytes(there)).retval == dp.REDIRECT
            assert path.run("from_pod", bytes(pk.tcp("client", "server", family, dport=80))).retval == dp.SHOT
            assert path.run("from_pod", bytes(pk.reply(there))).retval == dp.REDIRECT
            pol.enforce(path, "server", 6, ingress={1001: pol.peer(verdict=pol.DENY)})
            assert path.run("from_pod", bytes(pk.reply(there))).retval == dp.SHOT
            assert path.drops() == {("GH_DROP_POLICY", 1): 1, ("GH_DROP_POLICY_DENY", 1): 1}
