"""Real sockets in a cgroup of their own call services: whom they reach, and whom they believe to speak to."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import datapath as dp
from glasshive import bpf
from glasshive.agent.sockets import PROGRAMS, netns_cookie
from glasshive.bpf import link
from glasshive.bpf.probe.attempts.system import cgroup2_mount
from glasshive.maps.services import BackendRow, FrontendRow, ServiceMaps, SetRow
from glasshive.model.address import parse
from glasshive.model.service import BackendState, FrontendFlag, FrontendType, Place

pytestmark = pytest.mark.root

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
SERVICE = {4: "10.96.77.1", 6: "fd00:10:96::77:1"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
ANY = {4: "0.0.0.0", 6: "::"}
FAMILIES = (4, 6)
PATIENCE_S = 20.0


class Tables:
    """Services in the kernel's tables, and servers behind them."""

    def __init__(self, maps: dict[str, bpf.Map], stack: ExitStack) -> None:
        self.maps, self.kernel, self._stack = maps, ServiceMaps(maps), stack
        self._slot, self._backend, self._id = 0, 0, 0

    def server(self, family: int, kind: int) -> tuple[str, int]:
        """A listener on loopback that answers with its own port, whatever it is told; its address."""
        version = socket.AF_INET if family == 4 else socket.AF_INET6
        one = self._stack.enter_context(
            socket.socket(version, socket.SOCK_STREAM if kind == TCP else socket.SOCK_DGRAM)
        )
        one.bind((LOOPBACK[family], 0))
        port = one.getsockname()[1]
        one.settimeout(PATIENCE_S)
        if kind == TCP:
            one.listen(16)
        answer = _answer_streams if kind == TCP else _answer_datagrams
        threading.Thread(target=answer, args=(one, str(port).encode()), daemon=True).start()
        return LOOPBACK[family], port

    def backend(self, address: str, port: int, kind: int) -> int:
        self._backend += 1
        self.kernel.put_backends([(self._backend, BackendRow(Place(parse(address), port, kind), weight=1))])
        return self._backend

    def state(self, number: int, state: BackendState) -> None:
        self.kernel.put_backends([(number, self.kernel.backends()[number]._replace(state=int(state)))])

    def frontend(
        self,
        address: str,
        port: int,
        kind: int,
        *backends: int,
        flags: int = int(FrontendFlag.REJECT),
        affinity_s: int = 0,
        kind_of: FrontendType = FrontendType.CLUSTER_IP,
        number: int = 0,
    ) -> int:
        """Write or replace a frontend; its id."""
        self._slot += 8
        self.kernel.put_slots([(self._slot, backends)])
        row = SetRow(self._slot, len(backends))
        if not number:
            self._id += 1
        made = FrontendRow(row, row, number or self._id, affinity_s, flags, int(kind_of))
        self.kernel.put_frontends([(Place(parse(address), port, kind), made)])
        return made.id


def _answer_streams(server: socket.socket, text: bytes) -> None:
    while True:
        try:
            with server.accept()[0] as client:
                client.sendall(text)
        except OSError:
            return  # the test is over


def _answer_datagrams(server: socket.socket, text: bytes) -> None:
    while True:
        try:
            server.sendto(text, server.recvfrom(100)[1])
        except OSError:
            return


@pytest.fixture(scope="module")
def group() -> Iterator[Path]:
    """A cgroup with the test's process in it."""
    mount = Path(cgroup2_mount())
    before = next(
        line[3:].strip() for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")
    )
    made = mount / f"svcs-socket-{os.getpid()}"
    made.mkdir()
    (made / "cgroup.procs").write_text("0")
    yield made
    (mount / before.lstrip("/") / "cgroup.procs").write_text("0")
    made.rmdir()


@pytest.fixture(scope="module")
def maps(group: Path) -> Iterator[dict[str, bpf.Map]]:
    spec = bpf.ObjectSpec.open(dp.BUILD / "socket.bpf.o")
    spec.rodata["node_netns_cookie"] = netns_cookie()
    with spec.load() as made, ExitStack() as links:
        for name in PROGRAMS:
            links.enter_context(link.cgroup(made.programs[name], group))
        yield made.maps


@pytest.fixture
def tables(maps: dict[str, bpf.Map]) -> Iterator[Tables]:
    with ExitStack() as stack:
        made = Tables(maps, stack)
        yield made
        del made.kernel  # the kernel's memory, mapped
    for name in ("frontends", "socket_peers", "affinity", "endpoints", "ipcache"):
        maps[name].clear()


def opened(family: int, kind: int) -> socket.socket:
    made = socket.socket(
        socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM if kind == TCP else socket.SOCK_DGRAM
    )
    made.settimeout(PATIENCE_S)
    return made


def ask(address: str, port: int, family: int, kind: int) -> tuple[int, Any]:
    """Connect and ask: the port of whoever answered, and the peer's name."""
    with opened(family, kind) as one:
        one.connect((address, port))
        if kind == UDP:
            one.send(b"?")
        return int(one.recv(100)), one.getpeername()[:2]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_connect(tables: Tables, family: int, kind: int) -> None:
    address, port = tables.server(family, kind)
    tables.frontend(SERVICE[family], 80, kind, tables.backend(address, port, kind))
    assert ask(SERVICE[family], 80, family, kind) == (port, (SERVICE[family], 80))
    assert ask(address, port, family, kind) == (port, (address, port)), "who calls the backend itself sees it"


@pytest.mark.parametrize("kind", [TCP, UDP])
def test_v4_mapped(tables: Tables, kind: int) -> None:
    address, port = tables.server(4, kind)
    tables.frontend(SERVICE[4], 80, kind, tables.backend(address, port, kind))
    assert ask(f"::ffff:{SERVICE[4]}", 80, 6, kind) == (port, (f"::ffff:{SERVICE[4]}", 80))


@pytest.mark.parametrize("family", FAMILIES)
def test_own_address_is_left_alone(tables: Tables, family: int) -> None:
    address, port = tables.server(family, TCP)
    tables.frontend(SERVICE[family], 80, TCP, tables.backend(address, port, TCP))
    with opened(family, TCP) as one:
        one.bind((LOOPBACK[family], 0))
        before = one.getsockname()
        one.connect((SERVICE[family], 80))
        assert one.getsockname() == before


@pytest.mark.parametrize(("family", "mapped"), [(4, False), (4, True), (6, False)])
def test_one_socket_calls_several_services(tables: Tables, family: int, mapped: bool) -> None:
    ports = {}
    for number in (1, 2, 3):
        address, port = tables.server(family, UDP)
        tables.frontend(SERVICE[family], number, UDP, tables.backend(address, port, UDP))
        ports[number] = port
    text = f"::ffff:{SERVICE[family]}" if mapped else SERVICE[family]
    with opened(6 if mapped else family, UDP) as one:
        for number in (1, 2, 3, 2, 1):
            one.sendto(b"?", (text, number))
            answer, peer = one.recvfrom(100)
            assert (int(answer), peer[:2]) == (ports[number], (text, number))


def test_datagrams_stay_with_their_backend(tables: Tables) -> None:
    numbers = {}
    for _ in range(6):
        address, port = tables.server(4, UDP)
        numbers[port] = tables.backend(address, port, UDP)
    frontend = tables.frontend(SERVICE[4], 53, UDP, *numbers.values())
    with opened(4, UDP) as one:

        def answered() -> int:
            one.sendto(b"?", (SERVICE[4], 53))
            return int(one.recv(100))

        first = answered()
        assert {answered() for _ in range(20)} == {first}
        rest = [number for port, number in numbers.items() if port != first]
        tables.frontend(SERVICE[4], 53, UDP, *rest[:2], numbers[first], number=frontend)
        assert answered() == first, "the service's backends changed, this one is still among them"
        tables.state(numbers[first], BackendState.TERMINATING)
        tables.frontend(SERVICE[4], 53, UDP, *rest, number=frontend)
        assert answered() == first, "who terminates keeps its clients"
        tables.state(numbers[first], BackendState.GONE)
        assert answered() != first


def test_affinity(tables: Tables) -> None:
    numbers = {}
    for _ in range(6):
        address, port = tables.server(4, TCP)
        numbers[port] = tables.backend(address, port, TCP)
    flags = int(FrontendFlag.AFFINITY)
    tables.frontend(SERVICE[4], 80, TCP, *numbers.values(), flags=flags, affinity_s=600)
    first = ask(SERVICE[4], 80, 4, TCP)[0]
    assert {ask(SERVICE[4], 80, 4, TCP)[0] for _ in range(20)} == {first}
    keys, values = tables.maps["affinity"].items()
    assert [int(value["backend"]) for value in values] == [numbers[first]]
    assert int.from_bytes(keys[0]["client"].tobytes()[:8], sys.byteorder) == netns_cookie()
    # As if the client had been idle for longer than the service remembers: any of the six may answer.
    seen = set()
    for _ in range(60):
        values["used_ns"] -= 601 * 10**9
        tables.maps["affinity"].update(keys, values)
        seen.add(ask(SERVICE[4], 80, 4, TCP)[0])
        _, values = tables.maps["affinity"].items()
    assert len(seen) > 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("call", ["connect", "sendto"])
def test_nobody_answers(tables: Tables, family: int, call: str) -> None:
    kind = TCP if call == "connect" else UDP
    tables.frontend(SERVICE[family], 80, kind)
    with opened(family, kind) as one, pytest.raises(ConnectionRefusedError):
        _calls(one, call)((SERVICE[family], 80))


def _calls(one: socket.socket, call: str) -> Callable[[Any], Any]:
    return one.connect if call == "connect" else lambda where: one.sendto(b"?", where)


def test_nobody_answers_and_nobody_is_told(tables: Tables) -> None:
    """The datapath drops the packets; the socket's address is not touched."""
    tables.frontend(SERVICE[4], 80, UDP, flags=0)
    with opened(4, UDP) as one:
        one.connect((SERVICE[4], 80))
        assert one.getpeername() == (SERVICE[4], 80)
    assert not len(tables.maps["socket_peers"].items()[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_port_of_the_node(tables: Tables, family: int) -> None:
    address, port = tables.server(family, TCP)
    backend = tables.backend(address, port, TCP)
    tables.frontend(ANY[family], 30080, TCP, backend, kind_of=FrontendType.NODE_PORT)
    assert ask(LOOPBACK[family], 30080, family, TCP)[0] == port
    node = {4: "172.30.0.12", 6: "fd30::12"}[family]
    tables.maps["endpoints"].update([parse(node)], [{"flags": dp.HOST}])
    assert ask(node, 30080, family, TCP) == (port, (node, 30080))


@pytest.mark.parametrize("family", FAMILIES)
def test_port_of_a_pod_is_no_node_port(tables: Tables, family: int) -> None:
    tables.frontend(ANY[family], 30080, UDP, tables.backend(LOOPBACK[family], 9, UDP), kind_of=FrontendType.NODE_PORT)
    pod = {4: "10.244.77.9", 6: "fd00:10:244:77::9"}[family]
    tables.maps["endpoints"].update([parse(pod)], [{"flags": 0}])
    # Connecting a datagram socket sends nothing; the host may lack a route to a pod that is not there.
    with opened(family, UDP) as one, contextlib.suppress(OSError):
        one.connect((pod, 30080))
    assert not len(tables.maps["socket_peers"].items()[0])


def test_another_protocol_is_another_service(tables: Tables) -> None:
    address, port = tables.server(4, TCP)
    tables.frontend(LOOPBACK[4], port, UDP, flags=int(FrontendFlag.REJECT))
    assert ask(address, port, 4, TCP)[0] == port
