"""A local redirect policy and the ready pods of this node that it selects -> frontends of type LocalRedirect. Pure.

Without a ready pod there is no frontend: the call goes where it would go without the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from glasshive.api.local_redirect_policy import LocalRedirect, pairs
from glasshive.model.address import Address, is_ipv4
from glasshive.model.service import Backend, Frontend, FrontendType, Place, Service, ServicePort, ServiceTables
from glasshive.service.desired import RANK_REDIRECT


class RedirectPod(NamedTuple):
    """A ready pod of this node that a policy selects."""

    name: str
    addresses: tuple[Address, ...]


class Redirected(NamedTuple):
    """What a policy puts into the node's tables, and why it puts nothing there ("" if it does)."""

    tables: ServiceTables
    why: str = ""


def owner_of(policy: LocalRedirect) -> str:
    """Under what name a policy owns its tables."""
    return f"redirect {policy.ref}"


def redirected(policy: LocalRedirect, service: Service | None, pods: Sequence[RedirectPod]) -> Redirected:
    """One policy's tables. ``service``: that of its serviceMatcher, None if there is none."""
    order = (RANK_REDIRECT, policy.created, str(policy.ref))
    nothing = ServiceTables(order=order)
    addresses, ports, why = frontends_of(policy, service)
    if why:
        return Redirected(nothing, why)
    if not pods:
        return Redirected(nothing, "no ready pod of this node is selected")
    frontends: list[Frontend] = []
    backends: dict[Place, Backend] = {}
    for address in addresses:
        targets = [one for pod in pods for one in pod.addresses if is_ipv4(one) == is_ipv4(address)]
        if not targets:
            continue
        for front, back in ports:
            places = sorted({Place(one, back.port, back.protocol) for one in targets})
            backends |= dict.fromkeys(places, Backend(local=True))
            chosen = tuple((place, 1) for place in places)
            where = Place(address, front.port, front.protocol)
            frontends.append(Frontend(where, FrontendType.LOCAL_REDIRECT, 0, chosen, chosen, port_name=front.name))
    return Redirected(ServiceTables(tuple(frontends), tuple(backends.items()), order))


def frontends_of(
    policy: LocalRedirect, service: Service | None
) -> tuple[tuple[Address, ...], list[tuple[ServicePort, ServicePort]], str]:
    """The addresses that are called, the pairs of ports, and why there are none."""
    if policy.fault:
        return (), [], policy.fault
    if policy.address is not None:
        return (policy.address,), pairs(policy.front, policy.back)[0], ""
    if service is None:
        return (), [], f"there is no Service {policy.service}"
    if service.type != "ClusterIP" or service.headless:
        kind = "headless" if service.headless else f"of type {service.type}"
        return (), [], f"Service {service.ref} is {kind}; only ClusterIP can be redirected"
    front, why = _service_ports(policy, service)
    if why:
        return (), [], why
    paired, why = pairs(front, policy.back)
    return service.cluster_addresses, paired, why


def _service_ports(policy: LocalRedirect, service: Service) -> tuple[tuple[ServicePort, ...], str]:
    if not policy.front:
        return service.ports, ""
    for one in policy.front:
        if not any((have.port, have.protocol) == (one.port, one.protocol) for have in service.ports):
            return (), f"Service {service.ref} has no port {one.port} of that protocol"
    return policy.front, ""
