"""Policies that change all the time under real traffic: every packet is judged by the old policy or by the new one.

Two pods of a node, one sends to the other as fast as it can, both families. Ports are told apart by what the two
policies say of them: those that both allow never lose a packet, those that both refuse never get one, and every record
of a refusal names a rule of the very policy that it says it was judged by.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any

import numpy as np
import pytest

import datapath as dp
import datapath_policy as pol
from datapath_policy import ALLOW, DENY, UDP, peer, port
from glasshive import bpf
from glasshive.bpf.layout import dtype_of
from glasshive.bpf.ring import RingBuffer
from glasshive.model.policy import Direction
from glasshive.net import netns, sysctl

pytestmark = pytest.mark.root

BOTH, NEITHER, FIRST, SECOND, REST = range(7001, 7006)
"""Ports that both policies allow, neither, only the first, only the second; and one that no row names."""
ADDRESSES = {4: ("10.244.1.21", "10.244.1.22"), 6: ("fd00:10:244:1::21", "fd00:10:244:1::22")}
SENDER, RECEIVER = 3001, 3002
DEVICES = {SENDER: 100_021, RECEIVER: 100_022}
ENOUGH_FLIPS, ENOUGH_PACKETS, LONGEST_S = 1000, 20_000, 60.0


def sh(line: str) -> None:
    done = subprocess.run(line.split(), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"


@dataclass
class Stage:
    path: dp.Datapath
    sender: str
    receiver: str


def add_pod(path: dp.Datapath, node: str, pod: str, which: int, links: contextlib.ExitStack) -> None:
    inner, outer = f"02:aa:00:00:07:{which:02x}", f"02:bb:00:00:07:{which:02x}"
    identity, index = list(DEVICES.items())[which]
    sh(f"ip -n {pod} link add eth0 index 2 address {inner} type veth "
       f"peer name gh{which} index {index} address {outer} netns {node}")  # fmt: skip
    sh(f"ip -n {node} link set gh{which} up")
    sh(f"ip -n {pod} link set eth0 up")
    for family, addresses in ADDRESSES.items():
        gateway, bits, option = ("10.244.1.1", 32, "") if family == 4 else ("fd00:10:244:1::1", 128, "nodad")
        sh(f"ip -n {pod} addr add {addresses[which]}/{bits} dev eth0 {option}".strip())
        sh(f"ip -n {pod} route add {gateway}/{bits} dev eth0")
        sh(f"ip -n {pod} route add default via {gateway} dev eth0")
        path.add_endpoint(addresses[which], index, identity=identity, number=which + 1, pod_mac=inner, host_mac=outer)
    for name, direction in (("from_pod", "ingress"), ("to_pod", "egress")):
        links.enter_context(
            netns.in_netns(node, lambda name=name, direction=direction: bpf.link.attach_tc(  # type: ignore[misc]
                path.programs[name], index, direction))  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.fixture
def stage() -> Iterator[Stage]:
    names = [f"pol-{os.getpid()}-{kind}" for kind in ("node", "sender", "receiver")]
    settings = dp.config(flags=pol.FLAGS & ~dp.NODE_VERDICT_RECORDS)
    with contextlib.ExitStack() as stack:
        for name in names:
            netns.create(name)
            stack.callback(netns.delete, name, missing_ok=True)
            netns.in_netns(name, lambda: sysctl.write(sysctl.ROUTER | sysctl.QUIET_IPV6))
        sizes = {"policy_peers": 4096, "policy_ports": 8192, "policy_rows": 1 << 18}
        path = stack.enter_context(dp.loaded(settings, sizes))
        with bpf.expedited_rcu():
            for which in range(len(DEVICES)):
                add_pod(path, names[0], names[which + 1], which, stack)
            yield Stage(path, names[1], names[2])


def listening(namespace: str) -> dict[int, list[socket.socket]]:
    """Sockets in the receiver by port, one per family."""

    def listen() -> dict[int, list[socket.socket]]:
        made: dict[int, list[socket.socket]] = {}
        for number in (BOTH, NEITHER, FIRST, SECOND, REST):
            for kind, family in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
                one = socket.socket(kind, socket.SOCK_DGRAM)
                one.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE: nothing is lost behind the datapath
                one.bind((ADDRESSES[family][1], number))
                one.setblocking(False)
                made.setdefault(number, []).append(one)
        return made

    return netns.in_netns(namespace, listen)


def pour(namespace: str, stop: Event, sent: Any) -> None:
    """The sender's process: round after round of one packet to each port, until told to stop."""

    def work() -> None:
        rounds = 0
        doors = []
        for kind, family in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            for number in (BOTH, NEITHER, FIRST, SECOND, REST):
                door = socket.socket(kind, socket.SOCK_DGRAM)
                door.connect((ADDRESSES[family][1], number))
                doors.append(door)
        while not stop.is_set():
            for door in doors:
                with contextlib.suppress(ConnectionRefusedError):
                    door.send(b"x" * 8)
            rounds += 1
            sent.value = rounds
        for door in doors:
            door.close()

    netns.in_netns(namespace, work)


def drained(sockets: list[socket.socket]) -> int:
    """How many datagrams have arrived since the last time."""
    count = 0
    for one in sockets:
        with contextlib.suppress(BlockingIOError):
            while True:
                one.recv(16)
                count += 1
    return count


@contextlib.contextmanager
def traffic(stage: Stage) -> Iterator[tuple[Any, dict[int, list[socket.socket]], Event]]:
    """(rounds sent so far, the receiver's sockets, what stops the sender)."""
    fork = multiprocessing.get_context("fork")
    stop, sent = fork.Event(), fork.Value("L", 0)
    sockets = listening(stage.receiver)
    process = fork.Process(target=pour, args=(stage.sender, stop, sent))
    process.start()
    try:
        yield sent, sockets, stop
    finally:
        stop.set()
        process.join(10)
        process.close()
        for pair in sockets.values():
            for one in pair:
                one.close()


def rule(number: int, which: int) -> int:
    """A cookie that says to which policy the rule belongs."""
    return number << 4 | which


def rows_of(number: int, first: bool) -> pol.Rows:
    """One of the two policies: by name the first, for any peer the second."""
    mine, other = (FIRST, SECOND) if first else (SECOND, FIRST)
    rows = [port(UDP, BOTH, rule=rule(number, 1)), port(UDP, mine, rule=rule(number, 2))]
    if first:
        return {SENDER: peer(*rows, port(UDP, other, DENY, rule=rule(number, 3)), rule=rule(number, 4))}
    return {0: peer(*rows, port(UDP, NEITHER, DENY, rule=rule(number, 5)), rule=rule(number, 4)), 77: peer()}


REFUSING = {1: {NEITHER: 4, SECOND: 3, REST: 4}, 0: {NEITHER: 5, FIRST: 4, REST: 4}}
"""By the policy's kind (odd numbers are the first's) and the port: the rule that refuses."""


def checked(records: Any) -> int:
    """Every refusal is one of the policy that it names. Returns how many there were."""
    records = records[records["policy"] > 0]  # the pods' kernels talk to nobody, too
    for port_number, policy, cookie in np.unique(
        np.column_stack([records["dport"], records["policy"], records["rule"]]), axis=0
    ).tolist():
        number = policy >> 1
        expected = REFUSING[number & 1].get(port_number)
        assert expected is not None, f"policy {number} refused port {port_number} by rule {cookie:x}"
        assert cookie == rule(number, expected), f"port {port_number}, policy {number}: rule {cookie:x}"
    return len(records)


def test_policies_flip_under_traffic(stage: Stage) -> None:
    """Each flip: a new number, written completely; one update per address; the revision; old numbers a second later."""
    maps = pol.maps(stage.path)
    ring = RingBuffer(stage.path.maps["events"], dtype_of(stage.path.btf, "gh_record"))
    retired: list[tuple[float, int]] = []
    number = flips = told = 0

    def flip() -> None:
        nonlocal number, flips
        number, flips = number + 1, flips + 1
        maps.write_policy(number, Direction.INGRESS, rows_of(number, first=bool(number & 1)))
        for family in pol.pk.FAMILIES:
            stage.path.add_endpoint(ADDRESSES[family][1], DEVICES[RECEIVER], identity=RECEIVER, number=2, policy=number,
                                    flags=dp.INGRESS_ENFORCED, pod_mac="02:aa:00:00:07:01",
                                    host_mac="02:bb:00:00:07:01")  # fmt: skip
        maps.bump_revision()
        retired.append((time.monotonic() + 1.0, number - 1))
        if len(retired) > 200 and retired[200][0] < time.monotonic():  # one pass over the maps for many
            gone = [old for due, old in retired if due < time.monotonic()]
            del retired[: len(gone)]
            maps.remove_policies([old for old in gone if old])

    flip()
    stage.path.clear("drops")
    with traffic(stage) as (sent, sockets, stop):
        arrived = dict.fromkeys(sockets, 0)
        deadline = time.monotonic() + LONGEST_S
        while (flips < ENOUGH_FLIPS or sent.value * 10 < ENOUGH_PACKETS) and time.monotonic() < deadline:
            flip()
            told += checked(ring.take())
            for which, pair in sockets.items():
                arrived[which] += drained(pair)
        stop.set()
        final = settled(stage.path, sent)
        for which, pair in sockets.items():
            arrived[which] += drained(pair)
        told += checked(ring.take())
    ring.close()
    assert flips >= ENOUGH_FLIPS
    assert final * 10 >= ENOUGH_PACKETS
    assert arrived[BOTH] == 2 * final
    assert arrived[NEITHER] == arrived[REST] == 0
    assert 0 < arrived[FIRST] < 2 * final
    assert 0 < arrived[SECOND] < 2 * final
    assert told > 0
    refused = sum(count for (name, _), count in stage.path.drops().items() if name.startswith("GH_DROP_POLICY"))
    assert refused == 10 * final - sum(arrived.values())


def settled(path: dp.Datapath, sent: Any) -> int:
    """Rounds sent when the sender has stopped: its count stands still, and so do the drops."""
    before = None
    deadline = time.monotonic() + 20
    while before != (now := (sent.value, tuple(sorted(path.drops().items())))) and time.monotonic() < deadline:
        before = now
        time.sleep(0.2)
    return int(sent.value)


def test_peers_join_and_leave_under_traffic(stage: Stage) -> None:
    """A peer in a policy in use: all of its rows or none. Its ports are refused; all else of it is allowed."""
    maps = pol.maps(stage.path)
    closed = peer(*[port(UDP, each, DENY) for each in (NEITHER, REST)], verdict=ALLOW)
    maps.write_policy(1, Direction.INGRESS, {0: peer(port(UDP, BOTH))})
    for family in pol.pk.FAMILIES:
        stage.path.add_endpoint(ADDRESSES[family][1], DEVICES[RECEIVER], identity=RECEIVER, number=2, policy=1,
                                flags=dp.INGRESS_ENFORCED, pod_mac="02:aa:00:00:07:01",
                                host_mac="02:bb:00:00:07:01")  # fmt: skip
    changes = 0
    with traffic(stage) as (sent, sockets, stop):
        deadline = time.monotonic() + LONGEST_S
        arrived = dict.fromkeys(sockets, 0)
        while (changes < ENOUGH_FLIPS or sent.value * 10 < ENOUGH_PACKETS) and time.monotonic() < deadline:
            maps.add_peer(1, Direction.INGRESS, SENDER, closed)
            maps.bump_revision()
            maps.remove_peer(1, Direction.INGRESS, SENDER, closed.ports)
            maps.bump_revision()
            changes += 1
            for which, pair in sockets.items():
                arrived[which] += drained(pair)
        stop.set()
        final = settled(stage.path, sent)
        for which, pair in sockets.items():
            arrived[which] += drained(pair)
    assert changes >= ENOUGH_FLIPS
    assert arrived[BOTH] == 2 * final
    assert arrived[NEITHER] == arrived[REST] == 0
    assert 0 < arrived[FIRST] + arrived[SECOND] < 4 * final
