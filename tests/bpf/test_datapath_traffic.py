"""Real traffic through the datapath: pods as namespaces on two nodes, a bridge between them, and a world outside."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

import datapath as dp
from glasshive import bpf
from glasshive.net import netns, sysctl

pytestmark = pytest.mark.root

POD_MTU = {"native": 1500, "tunnel": 1430}
WORLD = {"4": "203.0.113.10", "6": "2001:db8:ffff::10"}


def sh(line: str, namespace: str = "") -> str:
    command = f"ip netns exec {namespace} {line}" if namespace else line
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class Pod:
    name: str
    ipv4: str
    ipv6: str
    ifindex: int
    number: int

    def address(self, family: str) -> str:
        return self.ipv4 if family == "4" else self.ipv6


@dataclass
class Node:
    name: str
    number: int
    datapath: dp.Datapath
    pods: list[Pod] = field(default_factory=list)
    links: list[object] = field(default_factory=list)

    def drops(self) -> dict[tuple[str, int], int]:
        """Without what the kernels of the pods say to nobody (multicast listener reports)."""
        return {key: n for key, n in self.datapath.drops().items() if key[0] != "GH_DROP_MULTICAST"}


@dataclass
class Fabric:
    mode: str
    underlay: str
    nodes: list[Node] = field(default_factory=list)

    @property
    def pods(self) -> list[Pod]:
        return [pod for node in self.nodes for pod in node.pods]


def add_namespace(name: str) -> None:
    sh(f"ip netns add {name}")
    netns.in_netns(name, lambda: sysctl.write(sysctl.ROUTER | sysctl.QUIET_IPV6))
    sh(f"ip -n {name} link set lo up")


def wire(namespace: str, device: str, addresses: list[str], link_local: str) -> None:
    """A veth from a namespace to the fabric's bridge; there it is index 2.

    It needs a link-local address: the kernel asks for neighbours of forwarded packets from that, or not at all.
    """
    port = f"p-{namespace[2:]}"
    sh(f"ip -n {namespace} link add {device} index 2 type veth peer name {port} netns b-fab")
    sh(f"ip -n b-fab link set {port} master br0 up")
    sh(f"ip -n {namespace} link set {device} up")
    for address in [*addresses, link_local]:
        sh(f"ip -n {namespace} addr add {address} dev {device}" + (" nodad" if ":" in address else ""))


def add_world() -> None:
    add_namespace("b-w")
    wire("b-w", "eth0", ["172.30.255.254/16", "fd30::ffff/64"], "fe80::ffff/64")
    sh("ip -n b-w addr add 203.0.113.10/32 dev lo")
    sh("ip -n b-w addr add 2001:db8:ffff::10/128 dev lo nodad")


def attach(node: Node, program: str, ifindex: int, direction: str) -> None:
    link = netns.in_netns(
        node.name,
        lambda: bpf.link.attach_tc(node.datapath.programs[program], ifindex, direction),  # type: ignore[arg-type]
    )
    node.links.append(link)


def add_node(number: int, mode: str, stack: contextlib.ExitStack) -> Node:
    name = f"b-n{number}"
    add_namespace(name)
    wire(name, "eth0", [f"172.30.0.1{number}/16", f"fd30::1{number}/64"], f"fe80::1{number}/64")
    sh(f"ip -n {name} link add gh_host index 90001 type ifb")
    sh(f"ip -n {name} link set gh_host up")
    sh(f"ip -n {name} addr add 10.244.{number}.1/32 dev gh_host")
    sh(f"ip -n {name} addr add fd00:10:244:{number}::1/128 dev gh_host nodad")
    if mode == "tunnel":
        sh(f"ip -n {name} link add gh_vxlan index 90002 type vxlan dstport 8472 external udp6zerocsumrx")
        sh(f"ip -n {name} link set gh_vxlan mtu 1500 up")
    sh(f"ip -n {name} route add default via 172.30.255.254")
    sh(f"ip -n {name} -6 route add default via fd30::ffff")
    settings = dp.config(
        flags=dp.NODE_MASQUERADE | dp.NODE_IPV4 | dp.NODE_IPV6 | (dp.NODE_TUNNEL if mode == "tunnel" else 0),
        device_ifindex=2, host_ifindex=90001, overlay_ifindex=90002 if mode == "tunnel" else 0,
        nat_port_min=49152, nat_port_max=65535,
        node_ipv4=f"172.30.0.1{number}", node_ipv6=f"fd30::1{number}",
        router_ipv4=f"10.244.{number}.1", router_ipv6=f"fd00:10:244:{number}::1",
    )  # fmt: skip
    return Node(name, number, stack.enter_context(dp.loaded(settings)))


def teach(node: Node, mode: str, underlay: str) -> None:
    """Maps and routes as the agent would write them."""
    for address in (f"172.30.0.1{node.number}", f"fd30::1{node.number}"):
        node.datapath.add_endpoint(address, 2, identity=1, number=0, flags=dp.HOST)
    for address in (f"10.244.{node.number}.1", f"fd00:10:244:{node.number}::1"):
        node.datapath.add_endpoint(address, 90001, identity=1, number=0, flags=dp.HOST | dp.ROUTER)
    for number in (1, 2):
        local = number == node.number
        fabric = {"4": f"172.30.0.1{number}", "6": f"fd30::1{number}"}
        for family, prefix, via in (("4", f"10.244.{number}.0/24", ""), ("6", f"fd00:10:244:{number}::/64", "-6")):
            node.datapath.add_ipcache(fabric[family], identity=1 if local else 6, flags=dp.IN_CLUSTER)
            flags = dp.IN_CLUSTER
            if not local:
                flags |= dp.TUNNEL if mode == "tunnel" else dp.ONLINK
            where = "" if local else fabric[underlay if mode == "tunnel" else family]
            node.datapath.add_ipcache(prefix, identity=2, flags=flags, node=where)
            if local or mode == "tunnel":
                mtu = "" if local else f"mtu {POD_MTU[mode]}"
                source = f"10.244.{node.number}.1" if family == "4" else f"fd00:10:244:{node.number}::1"
                sh(f"ip -n {node.name} {via} route add {prefix} dev gh_host src {source} {mtu}")
            else:
                sh(f"ip -n {node.name} {via} route add {prefix} via {fabric[family]}")
    attach(node, "from_netdev", 2, "ingress")
    attach(node, "to_netdev", 2, "egress")
    attach(node, "from_host", 90001, "egress")
    if mode == "tunnel":
        attach(node, "from_overlay", 90002, "ingress")


def add_pod(node: Node, which: int, mode: str) -> None:
    ifindex = 100000 + which
    pod = Pod(f"b-p{node.number}{which}", f"10.244.{node.number}.{10 + which}",
              f"fd00:10:244:{node.number}::{10 + which:x}", ifindex, which)  # fmt: skip
    inner, outer = f"02:aa:00:00:{node.number:02x}:{which:02x}", f"02:bb:00:00:{node.number:02x}:{which:02x}"
    add_namespace(pod.name)
    sh(f"ip -n {pod.name} link add eth0 index 2 address {inner} mtu {POD_MTU[mode]} type veth "
       f"peer name gh{which} index {ifindex} address {outer} mtu {POD_MTU[mode]} netns {node.name}")  # fmt: skip
    sh(f"ip -n {node.name} link set gh{which} up")
    sh(f"ip -n {pod.name} link set eth0 up")
    for address, gateway, bits, option in (
        (pod.ipv4, f"10.244.{node.number}.1", 32, "-4"), (pod.ipv6, f"fd00:10:244:{node.number}::1", 128, "-6"),
    ):  # fmt: skip
        sh(f"ip -n {pod.name} {option} addr add {address}/{bits} dev eth0" + (" nodad" if bits == 128 else ""))
        sh(f"ip -n {pod.name} {option} route add {gateway}/{bits} dev eth0")
        sh(f"ip -n {pod.name} {option} route add default via {gateway} dev eth0")
        node.datapath.add_endpoint(address, ifindex, identity=1000 + which, number=which, pod_mac=inner, host_mac=outer)
    node.pods.append(pod)
    attach(node, "from_pod", ifindex, "ingress")
    attach(node, "to_pod", ifindex, "egress")


@contextlib.contextmanager
def cluster(mode: str, underlay: str = "4") -> Iterator[Fabric]:
    names = ["b-fab", "b-w", *(f"b-n{n}" for n in (1, 2)), *(f"b-p{n}{w}" for n in (1, 2) for w in (1, 2))]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.callback(netns.delete, name, missing_ok=True)
        add_namespace("b-fab")
        sh("ip -n b-fab link add br0 type bridge")
        sh("ip -n b-fab link set br0 up")
        add_world()
        fabric = Fabric(mode, underlay)
        with bpf.expedited_rcu():
            for number in (1, 2):
                node = add_node(number, mode, stack)
                fabric.nodes.append(node)
                stack.callback(lambda made: [link.close() for link in made.links], node)
                teach(node, mode, underlay)
                for which in (1, 2):
                    add_pod(node, which, mode)
        yield fabric
        with bpf.expedited_rcu():
            for node in fabric.nodes:
                for link in node.links:
                    link.close()  # type: ignore[attr-defined]


@pytest.fixture(scope="module", params=["native", "tunnel-4", "tunnel-6"])
def fabric(request: pytest.FixtureRequest) -> Iterator[Fabric]:
    mode, _, underlay = request.param.partition("-")
    with cluster(mode, underlay or "4") as made:
        yield made


def ping(source: str, target: str, *options: str) -> str:
    return sh(f"ping -c 2 -i 0.2 -W 2 {' '.join(options)} {target}", source)


def exchange(kind: str, client: str, server: str, address: str, *, size: int = 1000, rounds: int = 3) -> str:
    """Bytes there and back by a TCP or UDP socket pair; returns whom the server saw."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    type_ = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    listener = netns.in_netns(server, lambda: socket.socket(family, type_))
    caller = netns.in_netns(client, lambda: socket.socket(family, type_))
    seen = []

    def serve() -> None:
        listener.settimeout(5)
        if kind == "udp":
            for _ in range(rounds):
                data, peer = listener.recvfrom(65536)
                seen.append(peer[0])
                listener.sendto(data, peer)
            return
        connection, peer = listener.accept()
        connection.settimeout(5)
        seen.append(peer[0])
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    with listener, caller:
        listener.bind((address, 0))
        if kind == "tcp":
            listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        caller.settimeout(5)
        caller.connect((address, listener.getsockname()[1]))
        for n in range(rounds):
            message = bytes([n]) * size
            caller.sendall(message)
            back = b""
            while len(back) < size:
                back += caller.recv(1 << 16)
            assert back == message
        caller.close()
        thread.join()
    return str(seen[0])


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("pair", [("b-p11", "b-p12"), ("b-p11", "b-p21")], ids=["same-node", "across"])
def test_pod_to_pod(fabric: Fabric, pair: tuple[str, str], family: str) -> None:
    source, target = ({pod.name: pod for pod in fabric.pods}[name] for name in pair)
    before = [node.drops() for node in fabric.nodes]
    ping(source.name, target.address(family))
    for kind in ("tcp", "udp"):
        assert exchange(kind, source.name, target.name, target.address(family)) == source.address(family)
    assert exchange("tcp", source.name, target.name, target.address(family), size=1 << 20) == source.address(family)
    assert [node.drops() for node in fabric.nodes] == before


@pytest.mark.parametrize("family", ["4", "6"])
def test_one_entry_per_connection(fabric: Fabric, family: str) -> None:
    node = fabric.nodes[0]
    node.datapath.clear("conntrack")
    exchange("tcp", "b-p11", "b-p12", node.pods[1].address(family))
    entries = list(node.datapath.rows("conntrack").values())
    assert len(entries) == 1
    closing = int(bpf.btf.enum(node.datapath.btf, "gh_ct_state")["GH_CT_CLOSING"])
    assert int(entries[0]["state"]) == closing
    assert int(entries[0]["identity"]) == 1001


@pytest.mark.parametrize("family", ["4", "6"])
def test_pod_to_world_is_masqueraded(fabric: Fabric, family: str) -> None:
    ping("b-p11", WORLD[family])
    node = {"4": "172.30.0.11", "6": "fd30::11"}[family]
    for kind in ("tcp", "udp"):
        assert exchange(kind, "b-p11", "b-w", WORLD[family]) == node
    assert exchange("tcp", "b-p11", "b-w", WORLD[family], size=1 << 20) == node


@pytest.mark.parametrize("family", ["4", "6"])
def test_node_and_its_pod(fabric: Fabric, family: str) -> None:
    pod = fabric.nodes[0].pods[0]
    router = {"4": "10.244.1.1", "6": "fd00:10:244:1::1"}[family]
    node = {"4": "172.30.0.11", "6": "fd30::11"}[family]
    ping("b-n1", pod.address(family))
    ping(pod.name, router)
    ping(pod.name, node)
    assert exchange("tcp", "b-n1", pod.name, pod.address(family)) == router
    assert exchange("tcp", pod.name, "b-n1", node) == pod.address(family)
    assert exchange("udp", pod.name, "b-n1", router) == pod.address(family)


@pytest.mark.parametrize("family", ["4", "6"])
def test_node_to_pod_of_other_node(fabric: Fabric, family: str) -> None:
    remote = fabric.nodes[1].pods[0]
    ping("b-n1", remote.address(family))
    assert exchange("tcp", "b-n1", remote.name, remote.address(family))
    ping(remote.name, {"4": "172.30.0.11", "6": "fd30::11"}[family])


@pytest.mark.parametrize("family", ["4", "6"])
def test_node_itself_reaches_the_world(fabric: Fabric, family: str) -> None:
    ping("b-n1", WORLD[family])
    assert exchange("tcp", "b-n1", "b-w", WORLD[family]) == {"4": "172.30.0.11", "6": "fd30::11"}[family]


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("target", ["b-p12", "b-p21", "b-w"])
def test_fragments(fabric: Fabric, target: str, family: str) -> None:
    address = WORLD[family] if target == "b-w" else {pod.name: pod for pod in fabric.pods}[target].address(family)
    exchange("udp", "b-p11", target, address, size=4000)
    ping("b-p11", address, "-s", "4000")


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("target", ["b-p21", "b-w"])
def test_closed_port_is_reported_to_the_pod(fabric: Fabric, target: str, family: str) -> None:
    """The ICMP error comes back, translated where the connection was."""
    address = WORLD[family] if target == "b-w" else {pod.name: pod for pod in fabric.pods}[target].address(family)
    kind = socket.AF_INET if family == "4" else socket.AF_INET6
    caller = netns.in_netns("b-p11", lambda: socket.socket(kind, socket.SOCK_DGRAM))
    with caller:
        caller.settimeout(3)
        caller.connect((address, 9))
        caller.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            caller.recv(100)


@pytest.mark.parametrize("family", ["4", "6"])
def test_hop_limit_is_reported_to_the_pod(fabric: Fabric, family: str) -> None:
    """With one hop the router answers, as traceroute expects."""
    done = subprocess.run(
        ["ip", "netns", "exec", "b-p11", "ping", "-c1", "-W2", "-t1", fabric.nodes[1].pods[0].address(family)],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    router = {"4": "10.244.1.1", "6": "fd00:10:244:1::1"}[family]
    assert re.search(rf"From {router} .*(Time to live|Time exceeded)", done.stdout), done.stdout + done.stderr


@pytest.mark.parametrize("family", ["4", "6"])
def test_too_big_is_reported_to_the_pod(fabric: Fabric, family: str) -> None:
    """Pods with too large an MTU learn the right one, and TCP goes on."""
    remote = fabric.nodes[1].pods[0]
    fits = 1500 - {"native": 0, "tunnel": 50 if fabric.underlay == "4" else 70}[fabric.mode]
    with pods_mtu(fabric, fits + 50):
        done = subprocess.run(
            ["ip", "netns", "exec", "b-p11", "ping", "-c1", "-W2", "-Mdo", f"-s{fits}", remote.address(family)],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
        assert f"mtu = {fits}" in done.stdout.lower().replace("mtu=", "mtu = "), done.stdout + done.stderr
        assert f"mtu {fits}" in sh(f"ip -{family} route get {remote.address(family)}", "b-p11")
        sh("ip netns exec b-p11 ip route flush cache")
        exchange("tcp", "b-p11", remote.name, remote.address(family), size=1 << 18)


@contextlib.contextmanager
def pods_mtu(fabric: Fabric, mtu: int) -> Iterator[None]:
    def change(to: int) -> None:
        for node in fabric.nodes:
            for pod in node.pods:
                sh(f"ip -n {pod.name} link set eth0 mtu {to}")
                sh(f"ip -n {node.name} link set gh{pod.number} mtu {to}")

    change(mtu)
    try:
        yield
    finally:
        change(POD_MTU[fabric.mode])


def test_spoofed_source_is_dropped(fabric: Fabric) -> None:
    node = fabric.nodes[0]
    before = node.drops().get(("GH_DROP_INVALID_SOURCE_IP", 2), 0)
    sh("ip -n b-p11 addr add 10.244.1.12/32 dev eth0")
    try:
        done = subprocess.run(
            ["ip", "netns", "exec", "b-p11", "ping", "-c", "1", "-W", "1", "-I", "10.244.1.12", "10.244.2.11"],
            capture_output=True,
            timeout=5,
            check=False,
        )
        assert done.returncode != 0
    finally:
        sh("ip -n b-p11 addr del 10.244.1.12/32 dev eth0")
    assert node.drops()[("GH_DROP_INVALID_SOURCE_IP", 2)] == before + 1


def test_frames_cut_in_the_ip_header_are_dropped(fabric: Fabric) -> None:
    node = fabric.nodes[0]
    before = node.drops().get(("GH_DROP_INVALID_PACKET", 2), 0)

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            for ether_type, first in ((b"\x08\x00", b"\x45"), (b"\x86\xdd", b"\x60")):
                for length in (0, 1, 19):
                    raw.send(bytes.fromhex("02bb0000010102aa00000101") + ether_type + (first + bytes(18))[:length])

    netns.in_netns("b-p11", send)
    assert node.drops()[("GH_DROP_INVALID_PACKET", 2)] == before + 6


def test_gateway_answers_without_a_fixed_neighbour(fabric: Fabric) -> None:
    """ARP and neighbour discovery: the pods of this test have no permanent entry, so every ping above needed them."""
    assert "02:bb:00:00:01:01" in sh("ip -n b-p11 neigh show 10.244.1.1")
    assert "02:bb:00:00:01:01" in sh("ip -n b-p11 neigh show fd00:10:244:1::1")
    assert fabric.nodes[0].pods
