"""What this cluster has, asked of the cluster itself: families, MTU, features, free addresses, names, services."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from glasshive.api.resources import NODE, POD, SERVICE
from glasshive.cluster import Cluster
from glasshive.connectivity.scenarios import HEADLESS, Places
from glasshive.connectivity.scenarios import SERVICE as SERVICE_NAME
from glasshive.connectivity.values import Facts
from glasshive.errors import ApiError

Object = dict[str, Any]


def gather(cluster: Cluster, namespace: str, statuses: Mapping[str, Any], places: Places) -> Facts:
    """Ask for everything; ``statuses`` are the agents' own by node."""
    families = tuple(family for family in ("ipv4", "ipv6") if all(family in p.addresses for p in places.echoes))
    services = {name: found for name in (SERVICE_NAME, HEADLESS) if (found := _service(cluster, name, namespace))}
    dns = _service(cluster, "kube-dns", "kube-system")
    echo = services.get(SERVICE_NAME, {})
    ports = (echo.get("spec") or {}).get("ports") or ()
    return Facts(
        families=families,
        pod_mtu=min(int(status["podMtu"]) for status in statuses.values()),
        features=features_of(statuses),
        free_addresses=_free_addresses(cluster),
        name_servers=_by_family(cluster_ips(dns)) if dns else {},
        services={SERVICE_NAME: _by_family(cluster_ips(echo))},
        headless=_headless(services.get(HEADLESS), places),
        node_port=int(ports[0].get("nodePort") or 0) if ports else 0,
        namespace=namespace,
    )


def features_of(statuses: Mapping[str, Any]) -> frozenset[str]:
    """Return the features that every agent has. Pure."""
    each = [frozenset(status.get("features") or ()) for status in statuses.values()]
    return frozenset.intersection(*each) if each else frozenset()


def cluster_ips(service: Object) -> list[str]:
    """Return the cluster addresses of a Service. Pure."""
    return [ip for ip in service["spec"].get("clusterIPs") or () if ip != "None"]


def free_address(cidr: str, taken: frozenset[str]) -> str:
    """Return the highest address of a pod pool that nobody has. Pure."""
    network = ipaddress.ip_network(cidr)
    for back in range(2, min(network.num_addresses, 100)):
        address = str(network[-back])
        if address not in taken:
            return address
    return ""


def _by_family(addresses: list[str]) -> dict[str, str]:
    return {("ipv6" if ":" in address else "ipv4"): address for address in addresses}


def _service(cluster: Cluster, name: str, namespace: str) -> Object | None:
    try:
        return cluster.api.get(SERVICE, name, namespace)
    except ApiError as error:
        if error.code != 404:
            raise
        return None


def _headless(service: Object | None, places: Places) -> dict[str, frozenset[str]]:
    if service is None:
        return {}
    families = {"ipv4" if f == "IPv4" else "ipv6" for f in service["spec"].get("ipFamilies") or ()}
    return {f: frozenset(place.addresses[f] for place in places.echoes) for f in families}


def _free_addresses(cluster: Cluster) -> dict[tuple[str, str], str]:
    taken = frozenset(a["ip"] for pod in cluster.api.list(POD)[0] for a in pod.get("status", {}).get("podIPs") or ())
    found = {}
    for node in cluster.api.list(NODE)[0]:
        for cidr in node["spec"].get("podCIDRs") or ():
            address = free_address(cidr, taken)
            if address:
                found[str(node["metadata"]["name"]), "ipv6" if ":" in cidr else "ipv4"] = address
    return found
