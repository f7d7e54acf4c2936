"""Endpoints, identities and policies of a running cluster, as the nodes' agents tell them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from glasshive.cluster.backend import Backend
from glasshive.cluster.rows import Rows
from glasshive.errors import NotFoundError

ENDPOINT_COLUMNS = {
    "node": "NODE",
    "id": "ENDPOINT",
    "policyIngress": "POLICY (ingress)\nENFORCEMENT",
    "policyEgress": "POLICY (egress)\nENFORCEMENT",
    "identity": "IDENTITY",
    "labels": "LABELS (source:key[=value])",
    "ipv6": "IPv6",
    "ipv4": "IPv4",
    "state": "STATUS",
}
IDENTITY_COLUMNS = {"number": "ID", "labels": "LABELS"}
MAP_COLUMNS = {
    "verdict": "POLICY",
    "direction": "DIRECTION",
    "peer": "LABELS",
    "portProtocol": "PORT/PROTO",
    "proxy": "PROXY PORT",
    "authType": "AUTH TYPE",
    "bytes": "BYTES",
    "packets": "PACKETS",
    "prefix": "PREFIX",
    "rule": "RULE",
}
OBJECT_COLUMNS = {"kind": "KIND", "namespace": "NAMESPACE", "name": "NAME", "valid": "VALID", "rules": "RULES",
                  "subjects": "SUBJECTS", "findings": "FINDINGS"}  # fmt: skip
SELECTOR_COLUMNS = {"selector": "SELECTOR", "users": "USERS", "identities": "IDENTITIES"}


def endpoints(backend: Backend, nodes: Sequence[str]) -> Rows:
    """Endpoints of nodes, in the order of their numbers."""
    rows = []
    for node in nodes:
        for one in sorted(backend.node_request(node, "GET", "/v1/endpoints"), key=lambda row: row["id"]):
            addresses = one["addresses"]
            ipv4 = next((text for text in addresses if ":" not in text), "")
            ipv6 = next((text for text in addresses if ":" in text), "")
            rows.append({"node": node, **one, "ipv4": ipv4, "ipv6": ipv6})
    return Rows("endpoints", ENDPOINT_COLUMNS, rows)


def identities(backend: Backend, nodes: Sequence[str]) -> Rows:
    """Identities of the cluster, as the first node that answers knows them."""
    rows = backend.node_request(_first(nodes), "GET", "/v1/identities")
    return Rows("identities", IDENTITY_COLUMNS, sorted(rows, key=lambda row: row["number"]))


def objects(backend: Backend, nodes: Sequence[str]) -> Rows:
    """Policy objects; ``subjects`` counts the endpoints that they select on all nodes."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    revision = 0
    for node in nodes:
        answer = backend.node_request(node, "GET", "/v1/policy")
        revision = max(revision, int(answer["revision"]))
        for row in answer["objects"]:
            known = found.setdefault((row["kind"], row["namespace"], row["name"]), {**row, "subjects": 0})
            known["subjects"] += row["subjects"]
    return Rows(f"policies (revision {revision})", OBJECT_COLUMNS, [found[key] for key in sorted(found)])


def policy_map(backend: Backend, node: str, endpoint: str = "") -> Rows:
    """Rows of an endpoint's policy, or of all policies of a node."""
    query = f"?endpoint={quote(endpoint, safe='')}" if endpoint else ""
    rows = backend.node_request(node, "GET", f"/v1/policy/map{query}")
    shown = [
        {**row, "peer": row["labels"] or (["ANY"] if not row["identity"] else [str(row["identity"])]), "proxy": "NONE"}
        for row in rows
    ]
    return Rows(f"policy of {node}{'/' if endpoint else ''}{endpoint}", MAP_COLUMNS, shown)


def selectors(backend: Backend, node: str) -> Rows:
    """Peers that rules name on a node."""
    return Rows(f"selectors of {node}", SELECTOR_COLUMNS, backend.node_request(node, "GET", "/v1/policy/selectors"))


def place(backend: Backend, nodes: Sequence[str], name: str) -> tuple[str, str]:
    """Node and id of an endpoint given as ``node/id`` or ``namespace/pod`` (or a pod of ``default``)."""
    left, slash, right = name.partition("/")
    if slash and left in nodes:
        return left, right
    wanted = (left, right) if slash else ("default", left)
    for node in nodes:
        for one in backend.node_request(node, "GET", "/v1/endpoints"):
            if (one["namespace"], one["pod"]) == wanted:
                return node, str(one["id"])
    raise NotFoundError(f"there is no endpoint {name}", hint="say node/id or namespace/pod: glasshive endpoint list")


def _first(nodes: Sequence[str]) -> str:
    if not nodes:
        raise NotFoundError("the cluster has no nodes")
    return nodes[0]
