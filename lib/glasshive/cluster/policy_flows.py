"""Flows that policy has judged, as the nodes' kernels told of them, and why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glasshive.cluster.backend import Backend
from glasshive.errors import NotFoundError, UsageError

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
