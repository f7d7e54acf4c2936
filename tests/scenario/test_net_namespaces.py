"""Namespaces, links and pod links on the real kernel, each test in namespaces of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from glasshive.errors import KernelError, NetlinkError, NotFoundError, UsageError
from glasshive.net import netlink, netns, sysctl, veth
from glasshive.net.links import Links

pytestmark = pytest.mark.root

ROUTER = ("10.244.7.1", "fd00:10:244:7::1")


@pytest.fixture
def spaces(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Two namespaces."""
    names = [f"gh-e-net-{os.getpid()}-{i}" for i in range(2)]
    for name in names:
        netns.create(name)
    yield names
    for name in names:
        netns.delete(name, missing_ok=True)


def own_namespace() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def ip(space: str, *words: str) -> str:
    return subprocess.run(["ip", "-n", space, *words], capture_output=True, text=True, check=True).stdout


def test_the_caller_never_moves(spaces: list[str]) -> None:
    before = own_namespace()
    seen = netns.in_netns(spaces[0], own_namespace)
    assert seen != before
    assert seen == netns.path_of(spaces[0]).stat().st_ino
    assert own_namespace() == before

    def fails() -> None:
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        netns.in_netns(spaces[0], fails)
    assert own_namespace() == before
    assert netns.names("gh-e-net-")[:1] == spaces[:1]


def test_bad_requests(spaces: list[str]) -> None:
    with pytest.raises(UsageError, match="exists already"):
        netns.create(spaces[0])
    with pytest.raises(NotFoundError):
        netns.in_netns("gh-e-none", own_namespace)
    with pytest.raises(NotFoundError):
        netns.delete("gh-e-none")
    stop = threading.Event()
    threading.Thread(target=stop.wait, daemon=True).start()
    with pytest.raises(UsageError, match="several"):
        netns.enter(spaces[0])
    stop.set()


def test_a_failed_setup_leaves_no_name() -> None:
    def fails(socket: netlink.Socket) -> None:
        socket.one(netlink.RTM_NEWLINK, 0, "no such link", netlink.ifinfo(99))

    with pytest.raises(NetlinkError):
        netns.create("gh-e-net-broken", fails)
    assert not netns.exists("gh-e-net-broken")


def test_a_bare_file_left_by_a_crash_can_be_deleted() -> None:
    path = netns.path_of("gh-e-net-bare")
    path.touch()
    netns.delete("gh-e-net-bare")
    assert not path.exists()


def test_ip_netns_exec_works_on_our_names(spaces: list[str]) -> None:
    out = subprocess.run(
        ["ip", "netns", "exec", spaces[0], "ip", "-o", "link"], capture_output=True, text=True, check=True
    )
    assert "lo" in out.stdout


def test_sysctls_are_the_namespaces_own(spaces: list[str]) -> None:
    sysctl.write({"net/ipv4/ip_forward": "1"}, spaces[0])
    assert sysctl.read("net/ipv4/ip_forward", spaces[0]) == "1"
    assert sysctl.read("net/ipv4/ip_forward", spaces[1]) == "0"
    with pytest.raises(KernelError, match="net/nothing/here"):
        sysctl.write({"net/nothing/here": "1"}, spaces[0])


def test_links_addresses_and_routes(spaces: list[str]) -> None:
    with ExitStack() as stack:
        one, two = stack.enter_context(Links(spaces[0])), stack.enter_context(Links(spaces[1]))
        one.bridge("br0", index=20)
        one.veth("port", "eth0", peer_netns=spaces[1], peer_index=2, mtu=1450, peer_mac="02:00:00:00:00:07")
        one.change("port", up=True, bridge="br0")
        one.change("br0", up=True, link_local=False)
        two.change("eth0", up=True)
        for links, dev, last in ((one, "br0", "1"), (two, "eth0", "2")):
            links.add_address(dev, f"192.0.2.{last}/24")
            links.add_address(dev, f"2001:db8:2::{last}/64")
            links.add_address(dev, f"192.0.2.{last}/24")
        two.set_route("default", via="192.0.2.1", source="192.0.2.2", mtu=1400)
        two.set_route("default", via="2001:db8:2::1")
        two.set_route("198.51.100.0/24", dev="eth0")
        assert one.index("br0") == 20
        assert two.index("eth0") == 2
        assert two.index("none") == 0
        assert "default via 192.0.2.1 dev eth0 src 192.0.2.2 mtu 1400" in ip(spaces[1], "route").replace("  ", " ")
        assert "default via 2001:db8:2::1" in ip(spaces[1], "-6", "route")
        for address in ("192.0.2.1", "2001:db8:2::1"):
            assert ping(spaces[1], address), address
        assert two.remove_route("198.51.100.0/24", dev="eth0")
        assert not two.remove_route("198.51.100.0/24", dev="eth0")
        assert two.remove_address("eth0", "2001:db8:2::2/64")
        assert not two.remove_address("eth0", "2001:db8:2::2/64")
        assert one.delete("br0")
        assert not one.delete("br0")
        with pytest.raises(NetlinkError, match="no device nothing"):
            one.change("nothing", up=True)
        with pytest.raises(NetlinkError, match="create bridge port"):
            one.bridge("port")


def ping(space: str, address: str) -> bool:
    """Many short tries: a bridge port needs a moment, a pod's link none (that is another test)."""
    words = ["ip", "netns", "exec", space, "ping", "-c", "1", "-W", "1", address]
    deadline = time.monotonic() + 60
    while subprocess.run(words, capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            return False
    return True


@pytest.mark.parametrize("underlay", ["192.0.2.", "2001:db8:2::"])
def test_vxlan_device_takes_its_keys_from_packets(spaces: list[str], underlay: str) -> None:
    with Links(spaces[0]) as links:
        links.vxlan("vx", port=8472, index=700, mtu=1430)
        links.change("vx", up=True)
        shown = ip(spaces[0], "-d", "link", "show", "vx")
    assert "external" in shown
    assert "dstport 8472" in shown
    assert "udp6zerocsumrx" in shown
    assert shown.startswith("700:")
    sockets = subprocess.run(["ip", "netns", "exec", spaces[0], "cat", "/proc/net/udp", "/proc/net/udp6"],
                             capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert sockets.count(f":{8472:04X} ") == 2, f"sockets of both families (underlay {underlay})"


def pod_link(number: int) -> veth.PodLink:
    return veth.PodLink(
        f"ghe{number}", 100000 + number, f"02:00:00:00:00:{number:02x}", f"06:00:00:00:00:{number:02x}", 1450,
        f"10.244.7.{number}", f"fd00:10:244:7::{number:x}", *ROUTER,
    )  # fmt: skip


def test_a_pods_link_works_with_its_first_packet(spaces: list[str]) -> None:
    node, pod = spaces

    def make() -> None:
        with Links() as links, netlink.Socket() as host:
            links.change("lo", up=True)
            for address, bits in zip(ROUTER, (32, 128), strict=True):
                links.add_address("lo", f"{address}/{bits}")
            veth.create_pod_link(pod, pod_link(9), host)
            links.set_route("10.244.7.9/32", dev="ghe9")
            links.set_route("fd00:10:244:7::9/128", dev="ghe9")
            links.set_neighbour("ghe9", "fd00:10:244:7::9", pod_link(9).pod_mac)

    netns.in_netns(node, make)
    for address in ROUTER:
        words = ["ip", "netns", "exec", pod, "ping", "-c", "1", "-W", "1", address]
        assert subprocess.run(words, capture_output=True, check=False).returncode == 0, address
    shown = ip(pod, "-d", "address")
    assert "fe80:" not in shown, "no link-local address is made"
    assert "tentative" not in shown
    assert "mtu 1450" in shown
    assert ip(pod, "neigh").count("PERMANENT") == 2
    assert ip(node, "-o", "link", "show", "ghe9").startswith("100009:")


def test_a_refused_link_leaves_nothing(spaces: list[str]) -> None:
    node, pod = spaces

    def make() -> None:
        veth.create_pod_link(pod, pod_link(3))
        try:
            netns.create(f"{pod}-other")
            with pytest.raises(NetlinkError, match="create veth ghe3") as caught:
                veth.create_pod_link(f"{pod}-other", pod_link(3))
            assert caught.value.errno == 17
            assert ip(f"{pod}-other", "-o", "link").count("\n") == 1
        finally:
            netns.delete(f"{pod}-other", missing_ok=True)
        assert veth.delete_host_link(100003)
        assert not veth.delete_host_link(100003)

    netns.in_netns(node, make)


def test_deleting_the_namespace_takes_the_device_with_it(spaces: list[str]) -> None:
    node, pod = spaces
    netns.in_netns(node, lambda: veth.create_pod_link(pod, pod_link(5)))
    netns.delete(pod)
    deadline = time.monotonic() + 60
    with Links(node) as links:
        while links.index("ghe5"):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_an_event_loop_is_back_home_after_making_and_asking(spaces: list[str]) -> None:
    """Where no signal handler raises, the calling thread goes itself; it must never stay away, not even by errors."""

    async def work() -> None:
        before = own_namespace()
        netns.socket_in(spaces[0]).close()
        assert own_namespace() == before
        with pytest.raises(UsageError):
            netns.create(spaces[0])
        with pytest.raises(RuntimeError, match="broken"):
            netns.create(f"{spaces[0]}-x", lambda _: broken())
        assert not netns.exists(f"{spaces[0]}-x")
        assert own_namespace() == before

    def broken() -> None:
        raise RuntimeError("broken")

    asyncio.run(work())
