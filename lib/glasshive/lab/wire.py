"""A lab's wire: three network namespaces in a row, nothing between them but what a learner's programs do.

::

    left            mid                      right
    [eth0]----------[to-left   to-right]-----[eth0]
    10.77.0.1       no address, no route     10.77.0.2

``left`` and ``right`` are on one subnet and know each other's MAC addresses, so they send no questions: every packet on
the wire is one that somebody sent. ``mid`` neither bridges nor routes. Nothing here is a device of the machine or of a
node; all of it carries the cluster's name and is in its inventory.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack
from pathlib import Path

from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import NotFoundError
from glasshive.inventory import Inventory, Kind
from glasshive.lab.alone import alone
from glasshive.lab.packets import RECEIVER, RECEIVER_MAC, SENDER, SENDER_MAC
from glasshive.net import netns
from glasshive.net.links import Links

ENDS = {"left": (SENDER, SENDER_MAC), "right": (RECEIVER, RECEIVER_MAC)}
PLACES = {"left": "eth0", "right": "eth0", "mid/to-left": "to-left", "mid/to-right": "to-right"}
"""Names of places, and the device that each stands for."""
INDEX = {"to-left": 11, "to-right": 12}
"""Interface numbers in ``mid``: fixed, so that a program may name them."""
MTU = 1500


class Wire:
    """The wire of one lab on one cluster."""

    def __init__(self, cluster: str, namespace: str) -> None:
        self._prefix = f"gh-{cluster}-{namespace}"
        self._run = ClusterPaths(cluster).run
        self._inventory = Inventory(ClusterPaths(cluster).inventory_file)

    def namespace(self, where: str) -> str:
        """Name of the namespace ``left``, ``mid`` or ``right``."""
        return f"{self._prefix}-{where}"

    @property
    def up(self) -> bool:
        """Whether it is there, all of it."""
        return all(netns.exists(self.namespace(where)) for where in ("left", "mid", "right"))

    def make(self) -> None:
        """Make the wire, if it is not there. What a crash left of one is removed first."""
        if self.up:
            return
        self.remove()
        names = [self.namespace(where) for where in ("left", "mid", "right")]
        self._inventory.add_all([(Kind.NETNS, name) for name in names])
        for name in names:
            netns.create(name)
        with Links(self.namespace("mid")) as mid:
            for end, (_, mac) in ENDS.items():
                device = f"to-{end}"
                peer = self.namespace(end)
                mid.veth(device, "eth0", peer_netns=peer, index=INDEX[device], peer_index=2, mtu=MTU, peer_mac=mac)
                mid.change(device, link_local=False, up=True)
        for end, other in (("left", "right"), ("right", "left")):
            with Links(self.namespace(end)) as links:
                links.change("lo", up=True)
                links.change("eth0", link_local=False, up=True)
                links.add_address("eth0", f"{ENDS[end][0]}/24")
                links.set_neighbour("eth0", *ENDS[other])

    def remove(self) -> None:
        """Take it away. Harmless when there is none."""
        for where in ("left", "mid", "right"):
            name = self.namespace(where)
            if netns.exists(name):
                netns.delete(name, missing_ok=True)
                self._inventory.forget(Kind.NETNS, name)

    def find(self, place: str) -> tuple[Path, str]:
        """The namespace and device of a place: ``left``, ``right``, ``mid/to-left``, ``mid/to-right``."""
        if place not in PLACES:
            raise NotFoundError(f"the wire has no place {place!r}", hint=", ".join(PLACES))
        name = self.namespace(place.partition("/")[0])
        if not netns.exists(name):
            raise NotFoundError("the wire is not there", hint="lab.wire() makes it")
        return netns.path_of(name), PLACES[place]

    def send(self, source: str = "left", *, port: int = 9000, count: int = 1, wait_s: float = 1.0) -> Sent:
        """Send UDP datagrams, each with a canary of its own, from one end to the other; says which arrived."""
        target = "right" if source == "left" else "left"
        canaries = [secrets.token_bytes(8) for _ in range(count)]
        with ExitStack() as stack:
            stack.enter_context(alone(self._run))  # two receivers at one port would take each other's datagrams
            where = netns.path_of(self.namespace(target))
            receiver = stack.enter_context(netns.in_netns(where, lambda: _bound(ENDS[target][0], port, wait_s)))
            sender = stack.enter_context(netns.in_netns(netns.path_of(self.namespace(source)), _socket))
            for one in canaries:
                sender.sendto(one, (ENDS[target][0], port))
            return Sent(port, canaries, _receive(receiver, set(canaries)))


class Sent:
    """Datagrams that were sent, and those that arrived."""

    def __init__(self, port: int, canaries: list[bytes], arrived: set[bytes]) -> None:
        self.port = port
        self.sent = len(canaries)
        self.arrived = len(arrived & {*canaries})

    def __repr__(self) -> str:
        return f"port {self.port}: {self.sent} sent, {self.arrived} arrived"


def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _bound(address: str, port: int, wait_s: float) -> socket.socket:
    made = _socket()
    made.bind((address, port))
    made.settimeout(wait_s)
    return made


def _receive(receiver: socket.socket, wanted: set[bytes]) -> set[bytes]:
    """Take what arrives until everything has, or nothing more comes."""
    seen: set[bytes] = set()
    while seen < wanted:
        try:
            seen.add(receiver.recv(2048))
        except TimeoutError:
            break
    return seen
