"""Flows that policy has judged, as the nodes' kernels told of them, and why."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from glasshive.api.policy_schema import near_names
from glasshive.cluster.backend import Backend
from glasshive.errors import NotFoundError, UsageError
from glasshive.model.address import parse, render

Object = dict[str, Any]
PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132, "ICMP": 1, "ICMPV6": 58}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which flows are meant; empty fields mean any. ``source`` and ``destination`` are addresses."""

    source: frozenset[str] = frozenset()
    destination: frozenset[str] = frozenset()
    protocol: str = ""
    port: int | None = None
    refused: bool = False

    def fits(self, row: dict[str, Any]) -> bool:
        """Whether a record is about such a flow."""
        return (
            (not self.source or row["source"] in self.source)
            and (not self.destination or row["destination"] in self.destination)
            and (not self.protocol or row["protocol"].upper() == self.protocol)
            and (self.port is None or port_of(row) == self.port)
            and (not self.refused or row["verdict"] != "allow")
        )


def packet_of(text: str) -> tuple[str, int | None]:
    """``8080/TCP`` or ``ICMP``: (protocol, port or None). Bare numbers mean TCP. UsageError."""
    port, slash, protocol = text.partition("/")
    if not slash:
        port, protocol = (text, "TCP") if text.isdigit() else ("", text)
    if protocol.upper() not in PROTOCOLS or (port and not port.isdigit()) or int(port or 0) > 65_535:
        raise UsageError(f"{text!r} is no port", hint="write 8080/TCP, 53/UDP, 8/ICMP or ICMP")
    return protocol.upper(), int(port) if port else None


def addresses_of(name: str, pods: Iterable[Object], nodes: Iterable[Object]) -> frozenset[str]:
    """Addresses that a name means: an address, ``[namespace/]pod`` or workload, ``[node/]NAME``; none for no name.

    NotFoundError names what looks like it.
    """
    if not name:
        return frozenset()
    address = _address(name)
    if address:
        return frozenset([address])
    namespace, slash, rest = name.partition("/")
    wanted = (namespace, rest) if slash else ("default", name)
    called: dict[tuple[str, str], set[str]] = {}
    for pod in pods:
        found = {one["ip"] for one in (pod.get("status") or {}).get("podIPs") or ()}
        for one in _names_of(pod):
            called.setdefault((pod["metadata"].get("namespace") or "default", one), set()).update(found)
    for node in nodes:
        listed = (node.get("status") or {}).get("addresses") or ()
        found = {one["address"] for one in listed if one.get("type") == "InternalIP"}
        called[("node", node["metadata"]["name"])] = found
    known = called.get(wanted, called.get(("node", name)))
    if known is None:
        raise _unknown(name, called)
    return frozenset(known)


def _address(text: str) -> str:
    """An address as records show it, "" if the text is none."""
    try:
        return render(parse(text))
    except UsageError:
        return ""


def _names_of(pod: Object) -> Iterator[str]:
    """A pod's own name, that of its controller, and that of a Deployment behind its ReplicaSet."""
    meta = pod["metadata"]
    yield meta["name"]
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            yield owner["name"]
            yield owner["name"].removesuffix(f"-{(meta.get('labels') or {}).get('pod-template-hash', '')}")


def _unknown(name: str, called: Iterable[tuple[str, str]]) -> NotFoundError:
    texts = {one if where == "default" else f"{where}/{one}" for where, one in called}
    near = near_names(name, texts) or [one for one in sorted(texts) if one.endswith(f"/{name}")][:2]
    hint = f"did you mean {' or '.join(near)}?" if near else "name a pod, a workload, a node or an address"
    return NotFoundError(f"there is no pod, workload or node {name}", hint=hint)


def records(backend: Backend, nodes: Sequence[str], wanted: Wanted) -> list[dict[str, Any]]:
    """What policy said of such flows lately, the oldest first, each with its ``node``."""
    found = []
    for node in nodes:
        for path in ("/v1/verdict-records?limit=1000", "/v1/drop-records?limit=1000"):
            answer = backend.node_request(node, "GET", path)
            found += [{**row, "node": node} for row in answer["records"] if row.get("verdict") and not row["reply"]]
    return sorted((row for row in found if wanted.fits(row)), key=lambda row: row["timeNs"])


def explained(backend: Backend, row: dict[str, Any]) -> dict[str, Any]:
    """A record with its explanation by the node that judged; ``changed`` when policy says something else by now."""
    outgoing = row["policyDirection"] == "egress"
    question = {
        "endpoint": row["endpoint"],
        "direction": row["policyDirection"],
        "protocol": PROTOCOLS.get(row["protocol"].upper(), row["protocol"]),
        "port": port_of(row),
        "peer": row["peer"],
        "address": row["destination" if outgoing else "source"],
    }
    answer = dict(backend.node_request(row["node"], "POST", "/v1/policy/explain", question))
    return {"flow": row, **answer, "changed": answer["verdict"] not in (row["verdict"], "not-judged")}


def explain_last(backend: Backend, nodes: Sequence[str], wanted: Wanted) -> list[dict[str, Any]]:
    """The explanations of the last such flow: one for each side that judged it. NotFoundError."""
    known = records(backend, nodes, wanted)
    if not known:
        raise NotFoundError(
            "no record of such a flow", hint="policy tells of a connection when it begins or is cut: send a packet"
        )
    last = known[-1]
    same = [row for row in known if _flow(row) == _flow(last)]
    newest: dict[tuple[str, str], dict[str, Any]] = {(row["node"], row["policyDirection"]): row for row in same}
    order = sorted(newest.values(), key=lambda row: row["policyDirection"])
    return [explained(backend, row) for row in order]


def flow_line(row: dict[str, Any]) -> str:
    """A record in one line."""
    ends = f"{_end(row['source'], row['sourcePort'])} -> {_end(row['destination'], row['destinationPort'])}"
    ago = max(0.0, (time.monotonic_ns() - row["timeNs"]) / 1e9)
    verdict = "audit" if row["audited"] else row["verdict"]
    return f"{ends} {row['protocol']} {row['policyDirection']} at {row['node']}: {verdict} ({ago:.1f} s ago)"


def port_of(row: dict[str, Any]) -> int:
    """The destination port, or the type of an ICMP message."""
    return int(row["icmpType"] if row["protocol"].upper().startswith("ICMP") else row["destinationPort"])


def _flow(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["source"], row["sourcePort"], row["destination"], row["destinationPort"], row["protocol"]


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
