"""The networks that ours is compared with, made of plain kernel parts by iproute2, as their users would.

Every builder gives a TrafficPath. Namespaces are named ``gb-<pid>-...`` and are gone when the Peers object closes.

One node: ``veth`` (two namespaces, one pair: nothing in between), ``bridge`` (two pairs on a Linux bridge), ``routing``
(a router namespace with connection tracking, as kube-proxy and most plug-ins leave it).
Two nodes: ``native`` (two routers on a wire, each with connection tracking) and ``vxlan`` (the same over the kernel's
own VXLAN device, as flannel does it).
"""

from __future__ import annotations

import os
import subprocess
from typing import Self

from glasshive.bench.traffic import TrafficPath
from glasshive.errors import ProcessError
from glasshive.net import netns

_TRACK = ("-A", "FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")


def run(*argv: str, stdin: str | None = None) -> None:
    """Run one set-up command; its complaint is the error."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessError(f"{' '.join(argv)} failed: {done.stderr.strip()}")


class Peers:
    """Builds the peers' namespaces and removes them at the end."""

    def __init__(self) -> None:
        self._prefix = f"gb-{os.getpid()}"
        self._names: list[str] = []

    def __enter__(self) -> Self:
        netns.ensure_run_netns()  # before `ip netns add` would make it a mount of the disk below it
        return self

    def __exit__(self, *exc: object) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def namespace(self, role: str) -> str:
        """Make a namespace with loopback up; TIME_WAIT ports may be used again so that crr slices do not run dry."""
        name = f"{self._prefix}-{role}"
        self._names.append(name)
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        self._sysctl(name, "net.ipv4.tcp_tw_reuse=1", "net.ipv6.conf.all.accept_dad=0")
        return name

    @staticmethod
    def _sysctl(name: str, *settings: str) -> None:
        run("ip", "netns", "exec", name, "sysctl", "-qw", *settings)

    def _batch(self, name: str, *lines: str) -> None:
        run("ip", "-n", name, "-batch", "-", stdin="\n".join(lines) + "\n")

    def _router(self, role: str) -> str:
        name = self.namespace(role)
        self._sysctl(name, "net.ipv4.ip_forward=1")
        run("ip", "netns", "exec", name, "iptables", *_TRACK)
        return name

    def _path(self, name: str, client: str, server: str, address: str) -> TrafficPath:
        return TrafficPath(name, f"/run/netns/{client}", f"/run/netns/{server}", address)

    def veth(self) -> TrafficPath:
        """Two namespaces and one veth pair."""
        a, b = self.namespace("veth-a"), self.namespace("veth-b")
        self._batch(
            a, f"link add eth0 type veth peer name eth0 netns {b}", "addr add 10.9.1.1/24 dev eth0", "link set eth0 up"
        )
        self._batch(b, "addr add 10.9.1.2/24 dev eth0", "link set eth0 up")
        return self._path("direct veth", a, b, "10.9.1.2")

    def bridge(self) -> TrafficPath:
        """Two namespaces on a Linux bridge without netfilter."""
        a, b, middle = self.namespace("br-a"), self.namespace("br-b"), self.namespace("br")
        self._batch(middle, "link add br0 type bridge forward_delay 0", "link set br0 up")
        for end, port, address in ((a, "p1", "10.9.2.1/24"), (b, "p2", "10.9.2.2/24")):
            self._batch(
                middle, f"link add {port} type veth peer name eth0 netns {end}", f"link set {port} master br0 up"
            )
            self._batch(end, f"addr add {address} dev eth0", "link set eth0 up")
        return self._path("bridge", a, b, "10.9.2.2")

    def _attach(self, router: str, end: str, port: str, subnet: str) -> None:
        self._batch(
            router,
            f"link add {port} type veth peer name eth0 netns {end}",
            f"addr add {subnet}.1/24 dev {port}",
            f"link set {port} up",
        )
        self._batch(end, f"addr add {subnet}.2/24 dev eth0", "link set eth0 up", f"route add default via {subnet}.1")

    def routing(self) -> TrafficPath:
        """A router namespace with connection tracking between two ends."""
        a, b, middle = self.namespace("rt-a"), self.namespace("rt-b"), self._router("rt")
        self._attach(middle, a, "p1", "10.9.3")
        self._attach(middle, b, "p2", "10.9.4")
        return self._path("routing+conntrack", a, b, "10.9.4.2")

    def _two_nodes(self, kind: str, net: int) -> tuple[str, str, str, str]:
        """Two routers joined by a bridge in a namespace of its own (as our fabric does it), one end behind each."""
        a, b = self.namespace(f"{kind}-a"), self.namespace(f"{kind}-b")
        left, right, fabric = self._router(f"{kind}-l"), self._router(f"{kind}-r"), self.namespace(f"{kind}-f")
        self._batch(fabric, "link add br0 type bridge forward_delay 0", "link set br0 up")
        for node, port, host in ((left, "p1", 1), (right, "p2", 2)):
            self._batch(
                fabric, f"link add {port} type veth peer name wire netns {node}", f"link set {port} master br0 up"
            )
            self._batch(node, f"addr add 10.9.{net}.{host}/24 dev wire", "link set wire up")
        self._attach(left, a, "p0", f"10.9.{net + 1}")
        self._attach(right, b, "p0", f"10.9.{net + 2}")
        return a, b, left, right

    def native(self) -> TrafficPath:
        """Two nodes, kernel routing with connection tracking on both."""
        a, b, left, right = self._two_nodes("nat", 10)
        self._batch(left, "route add 10.9.12.0/24 via 10.9.10.2")
        self._batch(right, "route add 10.9.11.0/24 via 10.9.10.1")
        return self._path("routing+conntrack, 2 nodes", a, b, "10.9.12.2")

    def vxlan(self) -> TrafficPath:
        """Two nodes, the kernel's VXLAN device and routing with connection tracking."""
        a, b, left, right = self._two_nodes("vx", 20)
        for node, own, other, subnet in ((left, 1, 2, 22), (right, 2, 1, 21)):
            self._batch(
                node,
                f"link add vx0 type vxlan id 42 dstport 8472 local 10.9.20.{own} dev wire nolearning",
                f"link set vx0 address 02:00:00:00:00:0{own} up",
                f"addr add 10.9.23.{own}/24 dev vx0",
                f"neigh add 10.9.23.{other} lladdr 02:00:00:00:00:0{other} dev vx0 nud permanent",
                f"route add 10.9.{subnet}.0/24 via 10.9.23.{other} dev vx0",
            )
            run(
                "bridge",
                "-n",
                node,
                "fdb",
                "append",
                f"02:00:00:00:00:0{other}",
                "dev",
                "vx0",
                "dst",
                f"10.9.20.{other}",
            )
        for end in (a, b):
            self._batch(end, "link set eth0 mtu 1450")
        return self._path("kernel vxlan, 2 nodes", a, b, "10.9.22.2")
