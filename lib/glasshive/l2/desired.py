"""Policies and services -> the addresses that this node may answer for, by service."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from glasshive.api.l2_announcement_policy import L2Policy, L2Service
from glasshive.api.load_balancer_request import Key
from glasshive.api.selectors import matches
from glasshive.model.address import Address

Responder = tuple[Address, int]
"""An address and the index of the device behind which it is answered for."""


def desired(
    policies: Iterable[L2Policy],
    services: Iterable[L2Service],
    node_labels: Mapping[str, str],
    devices: Mapping[str, int],
    *,
    with_backend: Collection[Key] = (),
) -> dict[Key, frozenset[Responder]]:
    """What this node may answer for if it holds the service's lease.

    ``devices``: index by name. ``with_backend``: services that have a ready backend on this node.
    """
    mine = [policy for policy in policies if matches(policy.nodes, node_labels)]
    found: dict[Key, frozenset[Responder]] = {}
    if not mine:
        return found
    for service in services:
        if service.local and service.key not in with_backend:
            continue
        labels = dict(service.labels)
        responders = frozenset(
            (address, index)
            for policy in mine
            if matches(policy.services, labels)
            for address in _addresses(policy, service)
            for index in _devices(policy, devices)
        )
        if responders:
            found[service.key] = responders
    return found


def _addresses(policy: L2Policy, service: L2Service) -> tuple[Address, ...]:
    return (service.balancer if policy.balancer else ()) + (service.external if policy.external else ())


def _devices(policy: L2Policy, devices: Mapping[str, int]) -> list[int]:
    wanted = policy.interfaces
    return [index for name, index in devices.items() if not wanted or any(one.search(name) for one in wanted)]
