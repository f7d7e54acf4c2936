"""Table columns of services, endpoints and ingresses."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .tables import Column, age_column, at, name_column

Object = dict[str, Any]
_SHOWN = 3


def _external(obj: Object, _: datetime) -> str:
    spec = obj.get("spec") or {}
    kind, listed = spec.get("type"), list(spec.get("externalIPs") or [])
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind == "LoadBalancer":
        found = [i.get("ip") or i.get("hostname") for i in at(obj, "status.loadBalancer.ingress") or []]
        return ",".join([*filter(None, found), *listed]) or "<pending>"
    return ",".join(listed) or "<none>"


def _ports(obj: Object, _: datetime) -> str:
    told = []
    for port in at(obj, "spec.ports") or []:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        told.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(told) or "<none>"


def _selector(obj: Object, _: datetime) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((at(obj, "spec.selector") or {}).items())) or "<none>"


def _more(words: list[str]) -> str:
    """The first few words, and how many more there are."""
    if not words:
        return "<none>"
    rest = len(words) - _SHOWN
    return ",".join(words[:_SHOWN]) + (f" + {rest} more..." if rest > 0 else "")


def _endpoints(obj: Object, _: datetime) -> str:
    words = []
    for subset in obj.get("subsets") or []:
        for address in subset.get("addresses") or []:
            ip = f"[{address['ip']}]" if ":" in address["ip"] else address["ip"]
            ports = [p["port"] for p in subset.get("ports") or []]
            words += [f"{ip}:{port}" for port in ports] or [ip]
    return _more(words)


def _slice_ports(obj: Object, _: datetime) -> str:
    ports = [str(p["port"]) if p.get("port") is not None else "*" for p in obj.get("ports") or []]
    return _more(ports) if ports else "<unset>"


def _slice_endpoints(obj: Object, _: datetime) -> str:
    words = [address for endpoint in obj.get("endpoints") or [] for address in endpoint.get("addresses") or []]
    return _more(words) if words else "<unset>"


def _hosts(obj: Object, _: datetime) -> str:
    hosts = [rule["host"] for rule in at(obj, "spec.rules") or [] if rule.get("host")]
    return _more(hosts) if hosts else "*"


def _ingress_address(obj: Object, _: datetime) -> str:
    return ",".join(i.get("ip") or i.get("hostname", "") for i in at(obj, "status.loadBalancer.ingress") or [])


SERVICE = [
    name_column(),
    Column("Type", lambda obj, _: at(obj, "spec.type") or ""),
    Column("Cluster-IP", lambda obj, _: at(obj, "spec.clusterIP") or "<none>"),
    Column("External-IP", _external),
    Column("Port(s)", _ports),
    age_column(),
    Column("Selector", _selector, wide=True),
]
ENDPOINTS = [name_column(), Column("Endpoints", _endpoints), age_column()]
ENDPOINT_SLICE = [
    name_column(),
    Column("AddressType", lambda obj, _: obj.get("addressType", "")),
    Column("Ports", _slice_ports),
    Column("Endpoints", _slice_endpoints),
    age_column(),
]
INGRESS = [
    name_column(),
    Column("Class", lambda obj, _: at(obj, "spec.ingressClassName") or "<none>"),
    Column("Hosts", _hosts),
    Column("Address", _ingress_address),
    Column("Ports", lambda obj, _: "80, 443" if at(obj, "spec.tls") else "80"),
    age_column(),
]
