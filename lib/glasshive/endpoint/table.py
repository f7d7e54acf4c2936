"""The endpoints of a node: attach, detach, restore, check.

Everything an endpoint consists of (link, two programs, map entries, record on disk, addresses, id) is made here in one
order and taken back in the reverse one; a failure at any step leaves nothing. No step waits for anybody: this is the
hot path of pod creation.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol

from glasshive.endpoint.ids import IdPool
from glasshive.endpoint.quarantine import AddressBook
from glasshive.endpoint.store import EndpointStore
from glasshive.errors import GlasshiveError, UsageError
from glasshive.ipam.node_pool import PodAddresses
from glasshive.model.address import V4_MAPPED, Address, render
from glasshive.model.endpoint import IFINDEX_OFFSET, NOT_ENFORCED, Endpoint, Enforcement, PodRef
from glasshive.net import netlink, netns, veth

log = logging.getLogger(__name__)

_POD_MAC_PREFIX, _HOST_MAC_PREFIX = b"\x02\x67", b"\x06\x67"
_IFLA_IFNAME, _IFA_ADDRESS = 3, 1


Listener = Callable[[Endpoint | None, Endpoint | None], None]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Where an endpoint shall be made: a network namespace, the interface's name in it, and for which pod."""

    container_id: str
    ifname: str
    netns: str
    pod: PodRef

    @property
    def owner(self) -> str:
        """Name under which the sandbox owns addresses."""
        return f"{self.container_id}/{self.ifname}"


class Delivery(Protocol):
    """How packets find an endpoint: ``maps.endpoints``, or routes on a node without eBPF."""

    def put(self, endpoint: Endpoint) -> None:
        """From now on packets for it arrive."""

    def delete(self, addresses: Sequence[Address]) -> object:
        """No longer; what is gone already is no error."""

    def has(self, endpoint: Endpoint) -> bool:
        """Whether all is as ``put`` made it."""


class Locals(Protocol):
    """Who is told of the node's own addresses: ``ipcache.sync``."""

    def set_local(self, endpoint_id: int, addresses: tuple[Address, ...], identity: int) -> None:
        """An endpoint has these addresses and this identity."""

    def remove_local(self, endpoint_id: int) -> None:
        """It has gone."""


class Hooks(Protocol):
    """What is attached to an endpoint's device: ``endpoint.links``."""

    def attach(self, endpoint: Endpoint) -> None:
        """Attach; on failure nothing stays."""

    def detach(self, endpoint: Endpoint) -> None:
        """Take it away."""

    def missing(self, endpoint: Endpoint) -> list[str]:
        """Hooks at which there is nothing though there should be."""

    def remove_strays(self, ids: set[int]) -> list[int]:
        """Take away what belongs to no endpoint of ``ids``; whose it was."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the table works on."""

    endpoints: Delivery
    ipcache: Locals
    links: Hooks
    store: EndpointStore
    addresses: AddressBook
    wire: netlink.Socket


class EndpointTable:
    """All endpoints of this node. Not thread-safe: it belongs to the agent's event loop."""

    def __init__(self, parts: Parts, mtu: int) -> None:
        self.parts = parts
        self.mtu = mtu
        self._ids = IdPool()
        self._by_owner: dict[str, Endpoint] = {}
        self._by_id: dict[int, Endpoint] = {}
        self.listeners: list[Listener] = []
        """Told of every endpoint that is attached (None, new), changed (old, new) or cut off (old, None)."""
        routers = parts.addresses.pool.routers
        self._gateways = PodAddresses(routers.ipv4, routers.ipv6)
        self._gateway_texts = tuple(str(one) if one else "" for one in (routers.ipv4, routers.ipv6))

    # -- reading

    def find(self, container_id: str, ifname: str) -> Endpoint | None:
        """The endpoint of a sandbox."""
        return self._by_owner.get(f"{container_id}/{ifname}")

    def get(self, endpoint_id: int) -> Endpoint | None:
        """The endpoint of an id."""
        return self._by_id.get(endpoint_id)

    def of_pod(self, namespace: str, name: str) -> list[Endpoint]:
        """Endpoints of a pod (an old and a new sandbox may be there together)."""
        return [one for one in self._by_id.values() if one.pod.name == name and one.pod.namespace == namespace]

    def gateways(self) -> tuple[str, str]:
        """The router's IPv4 and IPv6 address as text, "" where a family is missing."""
        return self._gateway_texts[0], self._gateway_texts[1]

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    # -- changing

    def attach(self, sandbox: Sandbox, identity: int, enforcement: Enforcement = NOT_ENFORCED) -> Endpoint:
        """Make an endpoint; the pod is reachable when this returns. ExhaustedError, KernelError; nothing stays then."""
        parts = self.parts
        with ExitStack() as undo:
            owned = parts.addresses.take(sandbox.owner)
            undo.callback(parts.addresses.cancel, sandbox.owner)
            number = self._ids.take()
            undo.callback(self._ids.release, number)
            endpoint = _endpoint(number, sandbox, owned, mtu=self.mtu, identity=identity, enforcement=enforcement)
            veth.create_pod_link(sandbox.netns, self._pod_link(endpoint, owned), parts.wire)
            undo.callback(veth.delete_host_link, endpoint.ifindex, parts.wire)
            parts.links.attach(endpoint)
            undo.callback(parts.links.detach, endpoint)
            parts.endpoints.put(endpoint)
            undo.callback(parts.endpoints.delete, endpoint.addresses)
            parts.ipcache.set_local(number, endpoint.addresses, identity)
            undo.callback(parts.ipcache.remove_local, number)
            parts.store.save(endpoint)
            undo.pop_all()
        self._by_owner[sandbox.owner] = endpoint
        self._by_id[number] = endpoint
        self._tell(None, endpoint)
        return endpoint

    def cut(self, endpoint: Endpoint) -> None:
        """Cut an endpoint off: it is in no map and on no list any more. Its device is left to the caller."""
        parts = self.parts
        self._by_owner.pop(owner_of(endpoint), None)
        self._by_id.pop(endpoint.id, None)
        with ExitStack() as steps:  # every step is tried, also when one before it fails
            steps.callback(parts.store.remove, endpoint.id)
            steps.callback(parts.endpoints.delete, endpoint.addresses)
            steps.callback(parts.ipcache.remove_local, endpoint.id)
        self._tell(endpoint, None)

    def bury(self, endpoint: Endpoint) -> None:
        """The device of an endpoint that was cut off has gone: its id is free, its addresses rest before reuse.

        Its links' pins go only now: a link that is released while its device is there waits for grace periods with the
        kernel's network lock held, one without a device costs nothing.
        """
        self.parts.links.detach(endpoint)
        self._ids.release(endpoint.id)
        self.parts.addresses.give_back(owner_of(endpoint), endpoint.addresses)

    def detach(self, endpoint: Endpoint) -> None:
        """Take an endpoint away and wait for its device (20 ms). ``departures`` does many at once."""
        self.cut(endpoint)
        veth.delete_host_link(endpoint.ifindex, self.parts.wire)
        self.bury(endpoint)

    def set_identity(self, endpoint: Endpoint, identity: int) -> Endpoint:
        """Give an endpoint another identity, in the kernel and on disk."""
        if endpoint.identity == identity:
            return endpoint
        changed = replace(endpoint, identity=identity)
        self.parts.endpoints.put(changed)
        self.parts.ipcache.set_local(changed.id, changed.addresses, identity)
        self.parts.store.save(changed)
        self._by_owner[owner_of(changed)] = changed
        self._by_id[changed.id] = changed
        self._tell(endpoint, changed)
        return changed

    def set_enforcement(self, endpoint: Endpoint, enforcement: Enforcement) -> Endpoint:
        """Give an endpoint another policy, in the kernel and on disk. The policy's rows must be there already."""
        if endpoint.enforcement == enforcement:
            return endpoint
        changed = replace(endpoint, enforcement=enforcement)
        self.parts.endpoints.put(changed)
        self.parts.store.save(changed)
        self._by_owner[owner_of(changed)] = changed
        self._by_id[changed.id] = changed
        return changed

    # -- after a restart

    def restore(self) -> list[Endpoint]:
        """Take over what an earlier agent left: endpoints whose device is still there. The others are cleared away."""
        present = self._host_links()
        for endpoint in self.parts.store.load():
            try:
                self.parts.addresses.restore(owner_of(endpoint), [render(one) for one in endpoint.addresses])
            except UsageError as error:
                log.warning("endpoint %d (%s) cannot keep its addresses: %s", endpoint.id, endpoint.pod, error)
                self._clear(endpoint)
                continue
            if present.get(endpoint.ifindex) != endpoint.host_ifname:
                log.info("endpoint %d (%s) went while no agent was running", endpoint.id, endpoint.pod)
                self.parts.addresses.give_back(owner_of(endpoint), endpoint.addresses)
                self._clear(endpoint)
                continue
            self._ids.claim(endpoint.id)
            self._by_owner[owner_of(endpoint)] = endpoint
            self._by_id[endpoint.id] = endpoint
        return list(self)

    def adopt(self) -> None:
        """Put this agent's programs into all pods' links, and remove links and devices that belong to no endpoint."""
        for endpoint in self:
            self.parts.links.attach(endpoint)
            self.parts.ipcache.set_local(endpoint.id, endpoint.addresses, endpoint.identity)
        self.parts.links.remove_strays(set(self._by_id))
        for ifindex, name in self._host_links().items():
            number = ifindex - IFINDEX_OFFSET
            if number not in self._by_id and name == f"gh{number:x}":
                veth.delete_host_link(ifindex, self.parts.wire)

    # -- looking

    def check(self, endpoint: Endpoint, sandbox_netns: str) -> list[str]:
        """What is wrong with an endpoint, in words; empty when all is as it was made."""
        wrong = []
        if endpoint.netns != sandbox_netns:
            wrong.append(f"it was made in {endpoint.netns}, not in {sandbox_netns}")
        if self._host_links().get(endpoint.ifindex) != endpoint.host_ifname:
            wrong.append(f"the host side {endpoint.host_ifname} (index {endpoint.ifindex}) is missing")
        else:
            wrong += [f"no program at {hook} of {endpoint.host_ifname}" for hook in self.parts.links.missing(endpoint)]
        if not self.parts.endpoints.has(endpoint):
            wrong.append("packets for it are not delivered: its entry (map endpoints, or route) is missing or differs")
        try:
            missing = set(endpoint.addresses) - addresses_in(sandbox_netns)
        except GlasshiveError as error:
            return [*wrong, f"{sandbox_netns} cannot be looked into: {error}"]
        wrong += [f"{endpoint.ifname} lacks the address {render(address)}" for address in sorted(missing)]
        return wrong

    # -- inside

    def _tell(self, old: Endpoint | None, new: Endpoint | None) -> None:
        for listener in self.listeners:
            listener(old, new)

    def _clear(self, endpoint: Endpoint) -> None:
        """Remove what a dead endpoint left in bpffs and on disk; its map entries go with the next reconciliation."""
        self.parts.links.detach(endpoint)
        self.parts.store.remove(endpoint.id)

    def _host_links(self) -> dict[int, str]:
        """Names of the namespace's devices in the range of host sides, by index."""
        found = {}
        for body in self.parts.wire.dump(netlink.RTM_GETLINK, "dump links", netlink.ifinfo()):
            index = int.from_bytes(body[4:8], "little")
            if index > IFINDEX_OFFSET:
                found[index] = netlink.attributes(body, 16)[_IFLA_IFNAME].rstrip(b"\0").decode()
        return found

    def _pod_link(self, endpoint: Endpoint, owned: PodAddresses) -> veth.PodLink:
        return veth.PodLink(
            host_name=endpoint.host_ifname,
            host_ifindex=endpoint.ifindex,
            host_mac=endpoint.host_mac.hex(":"),
            pod_mac=endpoint.mac.hex(":"),
            mtu=endpoint.mtu,
            ipv4=str(owned.ipv4) if owned.ipv4 else "",
            ipv6=str(owned.ipv6) if owned.ipv6 else "",
            gateway_ipv4=self._gateway_texts[0],
            gateway_ipv6=self._gateway_texts[1],
            pod_name=endpoint.ifname,
        )


def addresses_in(target: str) -> set[Address]:
    """Addresses of the pod's interface, as the kernel has them in the pod's network namespace."""
    found = set()
    wire = netns.socket_in(target)
    try:
        for body in wire.dump(netlink.RTM_GETADDR, f"addresses in {target}", netlink.ifaddr(0, 0, 0)):
            raw = netlink.attributes(body, 8).get(_IFA_ADDRESS, b"")
            if struct.unpack_from("=I", body, 4)[0] == veth.POD_IFINDEX:
                found.add(Address(V4_MAPPED + raw if len(raw) == 4 else raw))
    finally:
        wire.close()
    return found


def owner_of(endpoint: Endpoint) -> str:
    """Name under which an endpoint owns its addresses: that of its sandbox."""
    return f"{endpoint.container_id}/{endpoint.ifname}"


def _endpoint(
    number: int, sandbox: Sandbox, owned: PodAddresses, *, mtu: int, identity: int, enforcement: Enforcement
) -> Endpoint:
    """MACs are locally administered and follow from the address, so they are easy to recognise in a capture."""
    addresses = tuple(
        Address(V4_MAPPED + one.packed if one.version == 4 else one.packed) for one in (owned.ipv4, owned.ipv6) if one
    )
    tail = addresses[0][-4:]
    return Endpoint(
        id=number,
        container_id=sandbox.container_id,
        ifname=sandbox.ifname,
        netns=sandbox.netns,
        pod=sandbox.pod,
        addresses=addresses,
        mac=_POD_MAC_PREFIX + tail,
        host_mac=_HOST_MAC_PREFIX + tail,
        mtu=mtu,
        identity=identity,
        enforcement=enforcement,
    )
