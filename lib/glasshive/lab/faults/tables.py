"""Faults in a node's maps: wrong identity, stale entry, asymmetric route, full map. The agent would mend them: kept."""

from __future__ import annotations

import ipaddress
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from glasshive.bpf import Map
from glasshive.bpf.layout import Records, rows
from glasshive.errors import UsageError
from glasshive.lab.faults.fault import Fault, Hands
from glasshive.lab.faults.truth import Truth
from glasshive.model.address import parse, render_all

_HOST_BITS = 128
_JUNK = ipaddress.IPv4Address("198.18.0.0")  # RFC 2544: for benchmarks, so nobody's pod


class _EntryFault(Fault):
    """Changes fields of a pod's ipcache entries on one node: ``where["wanted"]`` is address -> field -> value."""

    params: ClassVar[tuple[str, ...]] = ("node", "namespace", "pod")
    kept = True

    def _entries(self, hands: Hands, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The pod's entries on the node, by address. UsageError on the pod's own node, where no entry is remote."""
        pod = hands.pod(given["namespace"], given["pod"])
        if pod.node == hands.node(given["node"]).name:
            raise UsageError(f"{pod.name} runs on {pod.node} itself", hint="name another node")
        with hands.map(given["node"], "ipcache") as kernel:
            found = {address: held for address in pod.addresses if (held := _read(kernel, address)) is not None}
        if not found:
            raise UsageError(f"ipcache of {given['node']} has no entry for {pod.name} yet", hint="try again")
        return found

    @abstractmethod
    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """See Fault."""

    def apply(self, hands: Hands, truth: Truth) -> None:
        """Write the wrong fields into entries that exist: one that has gone (its pod ended) is not brought back."""
        with hands.map(truth.where["node"], "ipcache") as kernel:
            for address, fields in truth.where["wanted"].items():
                _write(kernel, address, fields)

    def present(self, hands: Hands, truth: Truth) -> bool:
        """Whether an entry holds the wrong fields, and none that is there does not."""
        with hands.map(truth.where["node"], "ipcache") as kernel:
            held = [(_read(kernel, address), fields) for address, fields in truth.where["wanted"].items()]
        wrong = [all(now[key] == value for key, value in fields.items()) for now, fields in held if now is not None]
        return bool(wrong) and all(wrong)

    def undo(self, hands: Hands, truth: Truth) -> None:
        """Write back what was, unless somebody has written something else meanwhile."""
        with hands.map(truth.where["node"], "ipcache") as kernel:
            for address, fields in truth.where["wanted"].items():
                now = _read(kernel, address)
                if now is not None and all(now[key] == value for key, value in fields.items()):
                    _write(kernel, address, truth.before[address])


class WrongIdentity(_EntryFault):
    """A node takes one pod for another."""

    name = "wrong-identity"
    title = "a node takes a pod for another one"
    params = ("node", "namespace", "pod", "like")
    needs = ("policy",)

    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """``like``: the pod of the same namespace whose identity is written."""
        entries = self._entries(hands, given)
        other = hands.endpoint(hands.pod(given["namespace"], given["like"]))["identity"]
        if any(one["identity"] == other for one in entries.values()):
            raise UsageError(
                f"{given['pod']} and {given['like']} have the same identity", hint="other labels are needed"
            )
        wanted = {address: {"identity": other} for address in entries}
        return self.truth(
            given,
            {"node": given["node"], "map": "ipcache", "wanted": wanted},
            {address: {"identity": one["identity"]} for address, one in entries.items()},
            cause=f"ipcache of {given['node']} gives {given['pod']} the identity of {given['like']}",
            symptom=f"{given['node']} judges packets of {given['pod']} as if {given['like']} had sent them",
        )


class StaleIpcache(_EntryFault):
    """A node still believes that a pod is behind a node that is gone."""

    name = "stale-ipcache"
    title = "a node looks for a pod where it is no more"

    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """The entries lead to an address of the underlay that no node has."""
        entries = self._entries(hands, given)
        nobody = hands.unused_underlay(hands.node(given["node"]))
        wanted = {address: {"node_addr": _beside(nobody, one)} for address, one in entries.items()}
        return self.truth(
            given,
            {"node": given["node"], "map": "ipcache", "wanted": wanted},
            {address: {"node_addr": one["node_addr"]} for address, one in entries.items()},
            cause=f"ipcache of {given['node']} says that {given['pod']} is behind a node that is gone",
            symptom=f"pods of {given['node']} do not reach {given['pod']}; those of other nodes do",
        )


class AsymmetricRoute(_EntryFault):
    """Packets to a pod take a detour over a third node; answers come straight back."""

    name = "asymmetric-route"
    title = "packets take another way there than back"
    params = ("node", "namespace", "pod", "via")

    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """``via``: the node that packets are sent to instead."""
        entries = self._entries(hands, given)
        via = hands.node(given["via"])
        if via.name in {given["node"], hands.pod(given["namespace"], given["pod"]).node}:
            raise UsageError(f"{via.name} is an end of the way itself", hint="via names a third node")
        third = {"ipv6" if ":" in one else "ipv4": one for one in via.addresses}
        wanted = {address: {"node_addr": _beside(third, one)} for address, one in entries.items()}
        return self.truth(
            given,
            {"node": given["node"], "map": "ipcache", "wanted": wanted},
            {address: {"node_addr": one["node_addr"]} for address, one in entries.items()},
            cause=f"ipcache of {given['node']} sends packets for {given['pod']} to {via.name}",
            symptom=f"packets from {given['node']} to {given['pod']} make one more hop than the answers",
        )


class FullMap(Fault):
    """A map has no room for another entry."""

    name = "full-map"
    title = "a map is full"
    params = ("node", "map")
    defaults: ClassVar[Mapping[str, Any]] = {"map": "endpoints"}
    kept = True

    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """Only ``endpoints`` can be filled: other maps make room for themselves or hold too much."""
        if given["map"] != "endpoints":
            raise UsageError(f"map {given['map']!r} cannot be filled", hint="endpoints")
        node = hands.node(given["node"]).name
        with hands.map(node, "endpoints") as kernel:
            most = kernel.max_entries
        return self.truth(
            given,
            {"node": node, "map": "endpoints", "junk": f"{_JUNK} and following", "max_entries": most},
            {},
            cause=f"map endpoints of {node} holds {most} entries, most of them of nobody",
            symptom=f"no new pod starts on {node}; those that run go on",
        )

    def apply(self, hands: Hands, truth: Truth) -> None:
        """Write entries of addresses that nobody has until there is no room."""
        with hands.map(truth.where["node"], "endpoints") as kernel:
            keys, _ = kernel.items()
            room = kernel.max_entries - len(keys)
            taken = set(render_all(_plain(keys)))
            junk = (str(_JUNK + step) for step in range(2 * kernel.max_entries))
            fresh = [parse(one) for _, one in zip(range(room), (one for one in junk if one not in taken), strict=False)]
            if fresh:
                kernel.update(np.frombuffer(b"".join(fresh), kernel.key_dtype), np.zeros(1, kernel.value_dtype))

    def present(self, hands: Hands, truth: Truth) -> bool:
        """Whether there is no room, and it is our junk that takes it."""
        with hands.map(truth.where["node"], "endpoints") as kernel:
            keys, _ = kernel.items()
            return len(keys) >= kernel.max_entries and bool(self._junk(keys).any())

    def undo(self, hands: Hands, truth: Truth) -> None:
        """Delete the junk."""
        with hands.map(truth.where["node"], "endpoints") as kernel:
            keys, _ = kernel.items()
            ours = self._junk(keys)
            if ours.any():
                kernel.delete(rows(keys, ours))

    @staticmethod
    def _junk(keys: Records) -> Any:
        """Which keys are junk: 198.18.0.0/15, v4-mapped."""
        raw = _plain(keys)
        return (raw[:, 10] == 0xFF) & (raw[:, 11] == 0xFF) & (raw[:, 12] == 198) & (raw[:, 13] & 0xFE == 18)


def _plain(keys: Records) -> Any:
    return np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), -1)[:, -16:]


def _row(kernel: Map, address: str) -> tuple[Records, Records] | None:
    """The host entry of an address: (key, value), one row each. LPM look-ups would give a shorter prefix too."""
    keys, values = kernel.items()
    raw = _plain(keys)
    match = (raw == np.frombuffer(parse(address), np.uint8)).all(axis=1) & (keys["prefixlen"] == _HOST_BITS)
    (at,) = np.nonzero(match)
    return (rows(keys, at[:1]), rows(values, at[:1])) if len(at) else None


def _read(kernel: Map, address: str) -> dict[str, Any] | None:
    row = _row(kernel, address)
    if row is None:
        return None
    value = row[1]
    return {
        "identity": int(value["identity"][0]),
        "node_addr": render_all(np.ascontiguousarray(value["node_addr"]).view(np.uint8).reshape(1, 16))[0],
    }


def _write(kernel: Map, address: str, fields: Mapping[str, Any]) -> None:
    row = _row(kernel, address)
    if row is None:
        return
    key, value = row[0], row[1].copy()
    if "identity" in fields:
        value["identity"] = fields["identity"]
    if "node_addr" in fields:
        value["node_addr"] = np.frombuffer(parse(fields["node_addr"]), value["node_addr"].dtype)
    kernel.update(key, value)


def _beside(addresses: Mapping[str, str], entry: Mapping[str, Any]) -> str:
    """The address of the family by which an entry reaches its node."""
    return addresses["ipv6" if ":" in str(entry["node_addr"]) else "ipv4"]
