"""Services of a running cluster, as a node's agent tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from glasshive.api.service_conditions import ACCEPTED, ADDRESS_IN_CLUSTER, SELECTS
from glasshive.cluster.backend import Backend
from glasshive.cluster.rows import Rows
from glasshive.errors import GlasshiveError, NotFoundError

SERVICE_COLUMNS = {"id": "ID", "frontend": "Frontend", "type": "Service Type", "backend": "Backend"}
REMARK_COLUMNS = {"service": "SERVICE", "type": "TYPE", "remarks": "REMARKS"}
LB_COLUMNS = {
    "services": {"address": "SERVICE ADDRESS", "backend": "BACKEND ADDRESS (REVNAT_ID) (SLOT)"},
    "frontends": {"address": "SERVICE ADDRESS", "backend": "BACKEND ADDRESS (REVNAT_ID) (SLOT)"},
    "backends": {"id": "ID", "backend": "BACKEND ADDRESS", "state": "STATE", "local": "LOCAL", "zone": "ZONE",
                 "weight": "WEIGHT"},
    "revnat": {"id": "ID", "address": "BACKEND ADDRESS (REVNAT_ID) (SLOT)"},
    "maglev": {"table": "TABLE", "frontends": "FRONTEND", "slots": "SLOTS", "shares": "BACKENDS"},
    "affinity": {"id": "ID", "frontend": "FRONTEND", "client": "CLIENT", "backend": "BACKEND", "idleSeconds": "IDLE s"},
    "source-ranges": {"id": "ID", "frontend": "FRONTEND", "range": "SOURCE RANGE", "policy": "POLICY"},
}  # fmt: skip


def frontends(backend: Backend, nodes: Sequence[str]) -> Rows:
    """Frontends of the first of ``nodes``, with every backend of each and its state."""
    node = first(nodes)
    rows = backend.node_request(node, "GET", "/v1/services/frontends")
    shown = [{**row, "backend": _backends(row["backends"])} for row in rows]
    return Rows(f"services on {node}", SERVICE_COLUMNS, shown)


def remarks(backend: Backend, nodes: Sequence[str]) -> Rows:
    """Services about which there is something to say: what is wrong, or why they have no frontend."""
    rows = []
    for one in backend.node_request(first(nodes), "GET", "/v1/services"):
        said = _faults(one)
        if one["externalName"]:
            said.append(f"a name for {one['externalName']}: nothing to translate")
        elif one["answeredHere"]:
            said.append("every node answers itself: nothing to translate")
        elif one["headless"]:
            said.append(f"headless: clients get the addresses of {one['endpoints']} endpoints by name")
        elif not one["endpoints"]:
            said.append("no endpoints: " + ("its selector matches no pod" if one["selects"] else "nobody made any"))
        if said:
            rows.append({**one, "service": f"{one['namespace']}/{one['name']}", "remarks": said})
    return Rows("remarks", REMARK_COLUMNS, rows)


class ServiceView:
    """One Service on one node: ``record`` is everything that is known, ``frontends`` and ``lines`` show it."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        shown = [{**row, "backend": _backends(row["backends"])} for row in record["frontends"]]
        self.frontends = Rows(f"frontends of {self.name}", SERVICE_COLUMNS, shown)

    @property
    def name(self) -> str:
        """``namespace/name``."""
        one = self.record["service"]
        return f"{one['namespace']}/{one['name']}" if "namespace" in one else str(one["name"])

    @property
    def lines(self) -> list[str]:
        """What there is besides frontends."""
        service = self.record["service"]
        lines = [f"{self.name} {service.get('type', '')}".strip()]
        for row in self.record["frontends"]:
            if row["flags"] or row["sourceRanges"]:
                ranges = f", source ranges {', '.join(row['sourceRanges'])}" if row["sourceRanges"] else ""
                lines.append(f"  {row['frontend']}: {', '.join(row['flags'])}{ranges}")
        return lines + [f"  {text}" for text in _faults(service)]

    def __repr__(self) -> str:
        return "\n".join([*self.lines, repr(self.frontends)])

    def _repr_html_(self) -> str:
        text = "<br>".join(escape(line) for line in self.lines)
        return f"<p>{text}</p>{self.frontends._repr_html_()}"


class Why(dict[str, Any]):
    """The answer to a call: JSON as the agent gives it, text and table for people."""

    def rows(self) -> Rows:
        """The backends, with why each is not chosen."""
        columns = {"number": "ID", "backend": "BACKEND", "state": "STATE", "pod": "POD", "node": "NODE", "zone": "ZONE",
                   "weight": "WEIGHT", "why": "NOT CHOSEN BECAUSE"}  # fmt: skip
        frontend = self["frontend"]
        return Rows("backends", columns, frontend["backends"] if frontend else [])

    def __repr__(self) -> str:
        return "\n".join(why_lines(self))

    def _repr_html_(self) -> str:
        head = [line for line in why_lines(self) if " => " not in line]
        text = "<br>".join(escape(line) for line in head)
        return f"<p>{text}</p>{self.rows()._repr_html_() if self['frontend'] else ''}"


def one(backend: Backend, nodes: Sequence[str], name: str) -> ServiceView:
    """A Service by ``namespace/name`` (or a name in ``default``) or by the id of one of its frontends."""
    node = first(nodes)
    listed = backend.node_request(node, "GET", "/v1/services/frontends")
    if name.isdigit():
        owner = next((row["owner"] for row in listed if row["id"] == int(name)), "")
    else:
        owner = name if "/" in name else f"default/{name}"
    own = [row for row in listed if row["owner"] == owner]
    services = backend.node_request(node, "GET", "/v1/services")
    found = next((row for row in services if f"{row['namespace']}/{row['name']}" == owner), None)
    if found is None and not own:
        raise NotFoundError(f"there is no service {name} on {node}", hint="glasshive service list shows them")
    return ServiceView({"service": found or {"name": owner}, "frontends": own})


def why(backend: Backend, node: str, place: str, source: str | None) -> Why:
    """Which frontend a call from ``node`` meets; with ``source`` ("" for anybody) a call from outside through it."""
    query = {"place": place} | ({"from": source} if source is not None else {})
    return Why(backend.node_request(node, "GET", f"/v1/services/why?{urlencode(query)}"))


def table(backend: Backend, node: str, name: str) -> Rows:
    """One of the kernel's service tables on a node."""
    rows = backend.node_request(node, "GET", f"/v1/lb/{quote(name)}")
    if name in ("services", "frontends"):
        shown = [made for row in rows for made in _lb_rows(row)]
    elif name == "maglev":
        shown = [{**row, "shares": [f"{text} {count}" for text, count in row["backends"].items()]} for row in rows]
    else:
        shown = rows
    return Rows(f"{name} of {node}", LB_COLUMNS[name], shown)


def why_lines(found: Mapping[str, Any]) -> list[str]:
    """What ``why`` says, for people."""
    where = "inside the cluster" if found["scope"] == "internal" else "outside the cluster"
    lines = [f"A call from {where} to {found['call']}"]
    frontend = found["frontend"]
    if frontend is None:
        return [*lines, f"  meets no frontend: {found['refused']}"]
    flags = f" [{', '.join(frontend['flags'])}]" if frontend["flags"] else ""
    lines.append(
        f"  meets frontend {frontend['id']}: {frontend['frontend']} {frontend['type']}{flags} of {frontend['owner']}"
    )
    lines += [f"  {text}" for text in found["clashes"]]
    if found["refused"]:
        lines.append(f"  and gets nowhere: {found['refused']}")
    if found["hinted"]:
        lines.append(f"  hints decide: only endpoints for this {found['hinted']}")
    for row in frontend["backends"]:
        facts = ", ".join(
            text for text in (row["pod"], row["node"], f"zone {row['zone']}" if row["zone"] else "") if text
        )
        verdict = f"not chosen: {row['why']}" if row["why"] else "may be chosen"
        lines.append(f"  {row['number']} => {row['backend']} ({row['state']}){' ' + facts if facts else ''}: {verdict}")
    return lines


def replacement_lines(backend: Backend, node: str) -> list[str]:
    """What a node does of kube-proxy's work."""
    from glasshive.agent.services.details import lines

    try:
        status = backend.node_request(node, "GET", "/v1/status")
    except GlasshiveError as error:
        return [f"{node}: {error}"]
    found = status["features"].get("services", {}).get("kubeProxyReplacement")
    return [node, *lines(found)] if found else [f"{node}: its agent says nothing of services"]


def first(nodes: Sequence[str]) -> str:
    """The first node; NotFoundError."""
    if not nodes:
        raise NotFoundError("the cluster has no nodes")
    return nodes[0]


def _faults(service: Mapping[str, Any]) -> list[str]:
    """What is wrong about a Service: what this node sees, and what only the operator knows."""
    said = [*service.get("findings", ()), *service.get("clashes", ())]
    for one in service.get("conditions", ()):
        seen_here = one["type"] == SELECTS or (one["type"] == ACCEPTED and one["reason"] != ADDRESS_IN_CLUSTER)
        if not seen_here:
            said.append(f"{one['reason']}: {one['message']}")
    return said


def _backends(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{at} => {row['backend']} ({row['state']})" for at, row in enumerate(rows, 1)]


def _lb_rows(row: dict[str, Any]) -> list[dict[str, Any]]:
    words = [row["type"], *([] if row["routable"] else ["non-routable"])]
    words += [flag for flag in row["flags"] if flag != "routable"]
    nobody = "[::]:0" if row["frontend"].startswith("[") else "0.0.0.0:0"
    head = {**row, "address": f"{row['frontend']} (0)", "backend": f"{nobody} ({row['id']}) (0) [{', '.join(words)}]"}
    members = row.get("internal", [])
    if row.get("external", members) != members:
        members = [{**one, "scope": scope} for scope in ("internal", "external") for one in row[scope]]
    return [head, *({"address": f"{row['frontend']} ({one['slot']}{'/' + one['scope'] if 'scope' in one else ''})",
                     "backend": f"{one['backend']} ({row['id']}) ({one['slot']})"} for one in members)]  # fmt: skip
