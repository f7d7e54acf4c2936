"""Validation of services, endpoints, network policies and ingresses."""

from __future__ import annotations

import ipaddress
from typing import Any

from .status import FieldError, bad_value, duplicate, forbidden_field, required, unsupported
from .validate_pod import label_name, one_of, port_name, port_number
from .validate_workload import selector_errors

Object = dict[str, Any]
_SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_POLICIES = ("Cluster", "Local")


def service(obj: Object, _: Object | None) -> list[FieldError]:
    """Faults of a Service (its addresses are `service_ip`'s matter)."""
    spec = obj["spec"]
    ports, headless = spec.get("ports") or [], spec.get("clusterIP") == "None"
    found = one_of("spec.type", spec.get("type"), _SERVICE_TYPES)
    found += one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("None", "ClientIP"))
    found += one_of("spec.externalTrafficPolicy", spec.get("externalTrafficPolicy"), _POLICIES)
    found += one_of("spec.internalTrafficPolicy", spec.get("internalTrafficPolicy"), _POLICIES)
    found += one_of(
        "spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), ("SingleStack", "PreferDualStack", "RequireDualStack")
    )
    if spec.get("type") == "ExternalName":
        if not spec.get("externalName"):
            found.append(required("spec.externalName"))
    elif not ports and not headless:
        found.append(required("spec.ports"))
    if headless and spec.get("type") in {"NodePort", "LoadBalancer"}:
        found.append(bad_value("spec.clusterIPs", ["None"], f"may not be set to 'None' for {spec['type']} services"))
    return found + _service_ports(ports)


def _service_ports(ports: list[Object]) -> list[FieldError]:
    found: list[FieldError] = []
    names: set[str] = set()
    taken: set[tuple[Any, Any]] = set()
    for at, port in enumerate(ports):
        here = f"spec.ports[{at}]"
        found += port_number(f"{here}.port", port.get("port"))
        found += one_of(f"{here}.protocol", port.get("protocol"), _PROTOCOLS)
        target = port.get("targetPort")
        wrong = port_name if isinstance(target, str) else port_number
        found += wrong(f"{here}.targetPort", target) if target is not None else []
        if port.get("nodePort"):
            found += port_number(f"{here}.nodePort", port["nodePort"])
        name = port.get("name", "")
        if not name and len(ports) > 1:
            found.append(required(f"{here}.name"))
        elif name:
            found += label_name(f"{here}.name", name)
            if name in names:
                found.append(duplicate(f"{here}.name", name))
        names.add(name)
        identity = (port.get("port"), port.get("protocol"))
        if identity in taken:
            found.append(duplicate(here, {"port": identity[0], "protocol": identity[1]}))
        taken.add(identity)
    return found


def _address(field: str, text: Any) -> list[FieldError]:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return [bad_value(field, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    return []


def endpoints(obj: Object, _: Object | None) -> list[FieldError]:
    """Faults of Endpoints."""
    found: list[FieldError] = []
    for at, subset in enumerate(obj.get("subsets") or []):
        for group in ("addresses", "notReadyAddresses"):
            for n, address in enumerate(subset.get(group) or []):
                found += _address(f"subsets[{at}].{group}[{n}].ip", address.get("ip"))
    return found


def endpoint_slice(obj: Object, old: Object | None) -> list[FieldError]:
    """Faults of an EndpointSlice."""
    kind = obj.get("addressType")
    found = one_of("addressType", kind, ("IPv4", "IPv6", "FQDN"))
    if old is not None and old.get("addressType") != kind:
        found.append(bad_value("addressType", kind, "field is immutable"))
    for at, endpoint in enumerate(obj.get("endpoints") or []):
        addresses = endpoint.get("addresses") or []
        if not addresses:
            found.append(required(f"endpoints[{at}].addresses", "must contain at least 1 address"))
        for n, text in enumerate(addresses):
            if kind in {"IPv4", "IPv6"}:
                found += _address(f"endpoints[{at}].addresses[{n}]", text)
    return found


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The network of a CIDR; ValueError for anything else, also for an address without a length or a dotted mask."""
    if not text.partition("/")[2].isdecimal():
        raise ValueError(f"{text!r} has no prefix length")
    return ipaddress.ip_network(text, strict=False)


def _peer(peer: Object, place: str) -> list[FieldError]:
    if not peer:
        return [required(place, "must specify a peer")]
    found = selector_errors(peer.get("podSelector"), f"{place}.podSelector")
    found += selector_errors(peer.get("namespaceSelector"), f"{place}.namespaceSelector")
    block = peer.get("ipBlock")
    if block is None:
        return found
    if len(peer) > 1:
        found.append(forbidden_field(place, "may not specify both ipBlock and another peer"))
    try:
        network = _network(block.get("cidr", ""))
    except ValueError:
        return [*found, bad_value(f"{place}.ipBlock.cidr", block.get("cidr"), "must be a valid CIDR value")]
    for at, text in enumerate(block.get("except") or []):
        try:
            inner = _network(text)
            inside = inner.version == network.version and inner.subnet_of(network) and inner != network  # type: ignore[arg-type]
        except ValueError:
            inside = False
        if not inside:
            found.append(bad_value(f"{place}.ipBlock.except[{at}]", text, f"must be a strict subset of {network}"))
    return found


def network_policy(obj: Object, _: Object | None) -> list[FieldError]:
    """Faults of a NetworkPolicy."""
    spec = obj["spec"]
    found = selector_errors(spec.get("podSelector"), "spec.podSelector")
    for at, word in enumerate(spec.get("policyTypes") or []):
        found += one_of(f"spec.policyTypes[{at}]", word, ("Ingress", "Egress"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for at, rule in enumerate(spec.get(direction) or []):
            here = f"spec.{direction}[{at}]"
            for n, peer in enumerate(rule.get(peers) or []):
                found += _peer(peer, f"{here}.{peers}[{n}]")
            for n, port in enumerate(rule.get("ports") or []):
                found += _policy_port(port, f"{here}.ports[{n}]")
    return found


def _policy_port(port: Object, place: str) -> list[FieldError]:
    found = one_of(f"{place}.protocol", port.get("protocol"), _PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, str):
        found += port_name(f"{place}.port", number)
    else:
        found += port_number(f"{place}.port", number)
    if end is not None and (not isinstance(number, int) or end < number or end > 65535):
        found.append(bad_value(f"{place}.endPort", end, "must be a number from `port` to 65535"))
    return found


def ingress(obj: Object, _: Object | None) -> list[FieldError]:
    """Faults of an Ingress."""
    spec = obj.get("spec") or {}
    if not spec.get("rules") and not spec.get("defaultBackend"):
        return [bad_value("spec", {}, "either `defaultBackend` or `rules` must be specified")]
    found: list[FieldError] = []
    for at, rule in enumerate(spec.get("rules") or []):
        for n, path in enumerate((rule.get("http") or {}).get("paths") or []):
            here = f"spec.rules[{at}].http.paths[{n}]"
            kinds = ("Exact", "ImplementationSpecific", "Prefix")
            if path.get("pathType") not in kinds:
                found.append(unsupported(f"{here}.pathType", path.get("pathType"), kinds))
            elif path["pathType"] != "ImplementationSpecific" and not str(path.get("path", "")).startswith("/"):
                found.append(bad_value(f"{here}.path", path.get("path", ""), "must be an absolute path"))
    return found
