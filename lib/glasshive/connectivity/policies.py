"""Rounds of checks under policies: what must get through and what must not. Pure.

Each round has its own policies for the test's namespace; they are in force before its checks and gone after them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glasshive.api.cilium_policy_schema import CILIUM_NETWORK_POLICY
from glasshive.api.resources import NETWORK_POLICY
from glasshive.connectivity.values import Check, Facts, Place

if TYPE_CHECKING:
    from glasshive.connectivity.scenarios import Places

Object = dict[str, Any]
ENFORCED, OPEN = "Enabled", "Disabled"


@dataclass(frozen=True)
class PolicyRound:
    """``wanted``: part of the stage -> what its endpoints must say of (ingress, egress) before the checks begin."""

    name: str
    objects: tuple[Object, ...]
    wanted: dict[str, tuple[str, str]]
    checks: tuple[Check, ...]


def rounds(places: Places, facts: Facts) -> list[PolicyRound]:
    """All rounds for a cluster."""
    return [_default_deny(places, facts), _allow_clients(places, facts), _egress(places, facts)]


def _default_deny(places: Places, facts: Facts) -> PolicyRound:
    spec = {"podSelector": {"matchLabels": {"part": "echo"}}, "policyTypes": ["Ingress"]}
    checks = []
    for family in facts.families:
        for client, echo in _pairs(places):
            checks.append(_denied("policy/default-deny", client, echo, family))
            checks.append(_allowed("policy/default-deny", echo, client, family))
    policy = NETWORK_POLICY.object("deny", facts.namespace, spec=spec)
    return PolicyRound("policy/default-deny", (policy,), {"echo": (ENFORCED, OPEN)}, tuple(checks))


def _allow_clients(places: Places, facts: Facts) -> PolicyRound:
    spec = {
        "endpointSelector": {"matchLabels": {"part": "echo"}},
        "ingress": [{"fromEndpoints": [{"matchLabels": {"part": "client"}}]}],
    }
    checks = []
    for family in facts.families:
        for client, echo in _pairs(places):
            checks.append(_allowed("policy/allow-by-label", client, echo, family))
        for one, other in _ring(places.echoes):
            checks.append(_denied("policy/allow-by-label", one, other, family))
        for node in places.nodes:
            own = places.of("echo", node.node)
            checks.append(_allowed("policy/allow-by-label", node, own, family, seen=False))
        for node, echo in zip(places.nodes, _turned(places.echoes), strict=True):
            if node.node != echo.node:
                checks.append(_denied("policy/allow-by-label", node, echo, family))
    policy = CILIUM_NETWORK_POLICY.object("allow", facts.namespace, spec=spec)
    return PolicyRound("policy/allow-by-label", (policy,), {"echo": (ENFORCED, OPEN)}, tuple(checks))


def _egress(places: Places, facts: Facts) -> PolicyRound:
    """Clients may ask the world and the name service, nobody else."""
    dns = {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "kube-system", "k8s-app": "kube-dns"}}
    spec: Object = {
        "endpointSelector": {"matchLabels": {"part": "client"}},
        "egress": [{"toEntities": ["world"]}, {"toEndpoints": [dns], "toPorts": [{"ports": [{"port": "53"}]}]}],
    }
    checks = []
    for family in facts.families:
        for client, echo in _pairs(places):
            checks.append(_denied("policy/egress", client, echo, family))
        for client in places.clients:
            if places.world is not None:
                node = places.of("node", client.node)
                checks.append(_allowed("policy/egress", client, places.world, family, seen_as=node.addresses[family]))
            if server := facts.name_servers.get(family):
                checks.append(_name(client, server, family))
    policy = CILIUM_NETWORK_POLICY.object("egress", facts.namespace, spec=spec)
    return PolicyRound("policy/egress", (policy,), {"client": (OPEN, ENFORCED)}, tuple(checks))


def _pairs(places: Places) -> Iterator[tuple[Place, Place]]:
    """Every client with the echo pod of its own node and of the next one."""
    for client, other in zip(places.clients, _turned(places.echoes), strict=True):
        yield client, places.of("echo", client.node)
        if other.node != client.node:
            yield client, other


def _ring(some: tuple[Place, ...]) -> list[tuple[Place, Place]]:
    return [(one, other) for one, other in zip(some, _turned(some), strict=True) if one != other]


def _turned(some: tuple[Place, ...]) -> tuple[Place, ...]:
    return (*some[1:], *some[:1])


def _denied(name: str, source: Place, target: Place, family: str) -> Check:
    from glasshive.connectivity.scenarios import token

    probe = {"kind": "silent", "address": target.addresses[family], "port": target.port, "token": token()}
    return Check(f"{name}/denied/{family}", source, target.name, probe)


def _allowed(
    name: str, source: Place, target: Place, family: str, *, seen: bool = True, seen_as: str = ""
) -> Check:  # fmt: skip
    from glasshive.connectivity.scenarios import token

    probe = {"kind": "tcp", "address": target.addresses[family], "port": target.port, "token": token()}
    known = frozenset({seen_as or source.addresses[family]}) if seen else frozenset()
    return Check(f"{name}/allowed/{family}", source, target.name, probe, (target,), known)


def _name(source: Place, server: str, family: str) -> Check:
    from glasshive.connectivity.scenarios import token

    record = "A" if family == "ipv4" else "AAAA"
    name = f"{token()}.svc.cluster.local"
    probe = {"kind": "dns", "address": server, "name": name, "record": record, "token": token()}
    return Check(f"policy/egress/allowed/{family}", source, name, probe, addresses=frozenset(), code=3)
