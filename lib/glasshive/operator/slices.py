"""EndpointSlices of a Service, computed from the pods that its selector finds. Pure; ``endpoint_slice`` carries it out.

A pod serves when it is ready, also while it terminates; it is *ready* only when it does not terminate. A pod without an
address of a family is in no slice of that family.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

from glasshive.api.resources import ENDPOINT_SLICE
from glasshive.kube.objects import Object, is_terminating, key_of, labels_of, owner_reference, uid_of
from glasshive.operator.hints import add_hints
from glasshive.operator.pods import is_finished, is_ready

MANAGER = "endpointslice-controller.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"
MOST_ENDPOINTS = 100

Node = Callable[[str], Object | None]


def desired_slices(service: Object, pods: Iterable[Object], node: Node) -> dict[str, Object]:
    """Return the slices that a Service with a selector should have, by name; ``node`` finds a node by name."""
    serving = sorted((p for p in pods if not is_finished(p)), key=lambda p: p["metadata"]["name"])
    slices: dict[str, Object] = {}
    for family in families(service):
        groups: dict[str, tuple[list[Object], list[Object]]] = {}
        for pod in serving:
            address = address_of(pod, family)
            if address is None:
                continue
            ports = ports_of(service, pod)
            group = groups.setdefault(json.dumps(ports, sort_keys=True), (ports, []))
            group[1].append(_endpoint(service, pod, address, node))
        for ports, endpoints in groups.values():
            add_hints(service, endpoints)
            for number, first in enumerate(range(0, len(endpoints), MOST_ENDPOINTS)):
                made = _slice(service, family, ports, number, endpoints[first : first + MOST_ENDPOINTS])
                slices[made["metadata"]["name"]] = made
        if not groups:
            made = _slice(service, family, [], 0, [])
            slices[made["metadata"]["name"]] = made
    return slices


def families(service: Object) -> list[str]:
    """Return the address families of a Service as it lists them, IPv4 if it does not."""
    return list(service["spec"].get("ipFamilies") or ["IPv4"])


def address_of(pod: Object, family: str) -> str | None:
    """Return the pod's address of one family."""
    status = pod.get("status") or {}
    addresses = [a.get("ip", "") for a in status.get("podIPs") or ()] or [status.get("podIP") or ""]
    return next((a for a in addresses if a and (":" in a) == (family == "IPv6")), None)


def ports_of(service: Object, pod: Object) -> list[Object]:
    """Return the ports that ``pod`` serves for the Service; a named target that it does not have is left out."""
    ports = []
    for port in service["spec"].get("ports") or ():
        number = _target(port, pod)
        if number is None:
            continue
        entry: dict[str, Any] = {"name": port.get("name") or "", "protocol": port.get("protocol") or "TCP"}
        entry["port"] = number
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        ports.append(entry)
    return ports


def _target(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    if str(target).isdigit():
        return int(target)
    protocol = port.get("protocol") or "TCP"
    for container in pod["spec"].get("containers") or ():
        for offered in container.get("ports") or ():
            if offered.get("name") == target and (offered.get("protocol") or "TCP") == protocol:
                return int(offered["containerPort"])
    return None


def _endpoint(service: Object, pod: Object, address: str, node: Node) -> Object:
    serving, terminating = is_ready(pod), is_terminating(pod)
    anyhow = bool(service["spec"].get("publishNotReadyAddresses"))
    conditions = {"ready": anyhow or (serving and not terminating), "serving": serving, "terminating": terminating}
    namespace, name = key_of(pod)
    endpoint: Object = {
        "addresses": [address],
        "conditions": conditions,
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": name, "uid": uid_of(pod)},
    }
    where = pod["spec"].get("nodeName")
    if where:
        endpoint["nodeName"] = where
        zone = labels_of(node(where) or {"metadata": {}}).get(ZONE)
        if zone:
            endpoint["zone"] = zone
    hostname = pod["spec"].get("hostname")
    if hostname and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = hostname
    return endpoint


def _slice(service: Object, family: str, ports: list[Object], number: int, endpoints: list[Object]) -> Object:
    namespace, name = key_of(service)
    facts = json.dumps([family, ports, number], sort_keys=True)
    short = hashlib.sha256(facts.encode()).hexdigest()[:5]
    own = {k: v for k, v in labels_of(service).items() if k not in {SERVICE_NAME, MANAGED_BY, HEADLESS}}
    labels = own | {SERVICE_NAME: name, MANAGED_BY: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    owner = owner_reference(service, "v1", "Service")
    return ENDPOINT_SLICE.object(
        f"{name[:57]}-{short}",
        namespace,
        metadata={"labels": labels, "ownerReferences": [owner]},
        addressType=family,
        endpoints=endpoints,
        ports=ports,
    )


def same(wanted: Object, stored: Object) -> bool:
    """Tell whether a stored slice already is what is wanted."""
    fields = ("endpoints", "ports")
    return all((wanted.get(f) or []) == (stored.get(f) or []) for f in fields) and labels_of(wanted) == labels_of(
        stored
    )
