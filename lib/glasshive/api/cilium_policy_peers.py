"""The L3 part of one CiliumNetworkPolicy rule -> peers. At most one kind of peer in a rule (features.md, 2.5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from glasshive.api import policy_cidrs
from glasshive.api.cilium_policy_l7 import check_fqdn
from glasshive.api.policy_reading import EVERY, Reading, ServiceFacts, Use
from glasshive.api.policy_selectors import (
    cilium_matches,
    entity_peers,
    in_namespace,
    kubernetes_matches,
    match,
    peer_matches,
)
from glasshive.api.selectors import Requirement, matches
from glasshive.model.address import Prefix
from glasshive.model.labels import SOURCE_ANY, SOURCE_K8S, SOURCE_RESERVED
from glasshive.model.policy import CidrPeer, LabelPeer, Peer

Object = dict[str, Any]
Peers = list[Peer] | None


@dataclass(frozen=True, slots=True)
class L3:
    """Peers of a rule (None: anybody) and what it would take to know them."""

    peers: Peers
    need: str = ""
    given: bool = True
    """Whether the rule says anything about peers."""


def read_peers(rule: Object, prefix: str, path: str, reading: Reading, *, init: bool, deny: bool) -> L3:
    """Peers of the rule at ``path``; ``prefix`` is ``from`` or ``to``."""
    removed = rule.get(f"{prefix}Requires")
    if removed:
        reading.error(
            f"{path}.{prefix}Requires",
            f"{prefix}Requires is not enforced: it was deprecated in Cilium 1.17 and removed in 1.19, because it "
            f"changed the meaning of every other rule; add its labels to {prefix}Endpoints instead",
        )
    members = [name for name in _NAMES[prefix] if rule.get(name) is not None]
    filled = [name for name in members if rule[name]]
    if len(filled) > 1:
        first, second = (name[0].upper() + name[1:] for name in filled[:2])
        reading.error(f"{path}.{filled[1]}", f"combining {first} and {second} is not supported yet: write two rules")
        return L3([])
    if not filled:
        # An empty list selects nobody; without a list the rule is for everybody.
        for name in members:
            reading.warn(
                f"{path}.{name}",
                f"is an empty list and selects nobody, so the rule {'refuses' if deny else 'allows'} nothing; for "
                f"every peer leave {name} out and name ports, or write {prefix}Entities: [all]",
            )
        return L3([]) if members else L3(None, given=False)
    name = filled[0]
    found = _MEMBERS[name](rule[name], f"{path}.{name}", reading, init)
    if found.need:
        reading.lacks(f"{path}.{name}", found.need, deny=deny)
    return found


def _endpoints(selectors: Sequence[Object], path: str, reading: Reading, init: bool) -> L3:
    found = (peer_matches(one, f"{path}[{at}]", reading, init=init) for at, one in enumerate(selectors))
    return L3([LabelPeer(one) for one in found])


def _entities(names: Sequence[str], _path: str, reading: Reading, _init: bool) -> L3:
    found: list[Peer] = []
    for name in names:
        peers = entity_peers(name, reading.options.cluster)
        if peers is None:
            return L3(None)
        found += peers
    return L3(found)


def _cidrs(texts: Sequence[str], path: str, reading: Reading, _init: bool) -> L3:
    found = (policy_cidrs.read_prefix(text, f"{path}[{at}]", reading) for at, text in enumerate(texts))
    return L3([CidrPeer(prefix) for prefix in found if prefix is not None])


def _cidr_sets(sets: Sequence[Object], path: str, reading: Reading, _init: bool) -> L3:
    found: list[Peer] = []
    for at, one in enumerate(sets):
        here = f"{path}[{at}]"
        given = [name for name in ("cidr", "cidrGroupRef", "cidrGroupSelector") if one.get(name) not in (None, "")]
        if len(given) != 1:
            more = f", found {' and '.join(given)}" if given else ""
            reading.error(here, f"one of cidr, cidrGroupRef, or cidrGroupSelector is required{more}")
            continue
        prefixes: Sequence[Prefix] = ()
        whole: Prefix | None = None
        if given[0] == "cidr":
            whole = policy_cidrs.read_prefix(one["cidr"], f"{here}.cidr", reading, slash=True)
            prefixes = () if whole is None else (whole,)
        else:
            prefixes = _group(one, here, reading)
        excepts = policy_cidrs.read_excepts(one.get("except") or (), whole, f"{here}.except", reading)
        found += [peer for prefix in prefixes if (peer := policy_cidrs.peer(prefix, excepts)) is not None]
    return L3(found)


def _group(one: Object, path: str, reading: Reading) -> list[Prefix]:
    """Prefixes of the CIDR groups that an element names or selects."""
    groups = reading.lookups.cidr_groups
    name = one.get("cidrGroupRef")
    if name:
        reading.uses.add(Use("CiliumCIDRGroup", "", name))
        if name not in groups:
            reading.warn(f"{path}.cidrGroupRef", f"there is no CiliumCIDRGroup {name}: nothing is selected by it")
            return []
        return list(groups[name].prefixes)
    reading.uses.add(Use("CiliumCIDRGroup", "", EVERY))
    wanted = kubernetes_matches(one["cidrGroupSelector"], f"{path}.cidrGroupSelector", reading)
    needs = tuple(Requirement(match.key, match.op, match.values) for match in wanted)
    chosen = [group for group in groups.values() if matches(needs, group.labels)]
    if not chosen:
        reading.warn(f"{path}.cidrGroupSelector", "selects no CiliumCIDRGroup: nothing is selected by it")
    return [prefix for group in chosen for prefix in group.prefixes]


def _nodes(selectors: Sequence[Object], path: str, reading: Reading, _init: bool) -> L3:
    if not reading.options.node_selectors:
        reading.error(
            path, 'FromNodes/ToNodes rules can only be applied when the "enable-node-selector-labels" flag is set'
        )
        return L3([])
    remote = match(SOURCE_RESERVED, "remote-node", "exists")
    found = (cilium_matches(one, f"{path}[{at}]", reading, "node") for at, one in enumerate(selectors))
    return L3([LabelPeer((*one, remote)) for one in found])


def _services(services: Sequence[Object], path: str, reading: Reading, _init: bool) -> L3:
    found: list[Peer] = []
    for at, one in enumerate(services):
        here = f"{path}[{at}]"
        named, selected = one.get("k8sService"), one.get("k8sServiceSelector")
        if (named is None) == (selected is None):
            reading.error(here, "needs either k8sService or k8sServiceSelector")
        elif named is not None:
            found += _service(named, f"{here}.k8sService", reading)
        elif selected is not None:
            found += _selected_services(selected, f"{here}.k8sServiceSelector", reading)
    return L3(found)


def _service(named: Object, path: str, reading: Reading) -> list[Peer]:
    namespace, name = named.get("namespace") or reading.namespace or "default", named.get("serviceName") or ""
    if not name:
        reading.error(f"{path}.serviceName", "is missing: the Service's name")
        return []
    reading.uses.add(Use("Service", namespace, name))
    facts = reading.lookups.services.get((namespace, name))
    if facts is None:
        reading.warn(path, f"there is no Service {namespace}/{name}: nothing is selected by it")
        return []
    return _service_peers(namespace, facts)


def _selected_services(selected: Object, path: str, reading: Reading) -> list[Peer]:
    namespace = selected.get("namespace") or ""
    reading.uses.add(Use("Service", namespace, EVERY))
    wanted = cilium_matches(selected["selector"], f"{path}.selector", reading, SOURCE_K8S)
    needs = tuple(Requirement(one.key, one.op, one.values) for one in wanted if one.source in (SOURCE_K8S, SOURCE_ANY))
    chosen = [
        (where, facts)
        for (where, _), facts in sorted(reading.lookups.services.items(), key=lambda item: item[0])
        if namespace in ("", where) and matches(needs, facts.labels)
    ]
    if not chosen:
        reading.warn(path, "selects no Service: nothing is selected by it")
    return [peer for where, facts in chosen for peer in _service_peers(where, facts)]


def _service_peers(namespace: str, facts: ServiceFacts) -> list[Peer]:
    """A service with a selector stands for its pods; one without for the addresses of its endpoints."""
    if facts.selector is None:
        return [CidrPeer(prefix) for prefix in facts.addresses]
    pods = (match(SOURCE_K8S, key, "in", value) for key, value in sorted(facts.selector.items()))
    return [LabelPeer((*pods, in_namespace(namespace)))]


def _groups(_given: Sequence[Object], _path: str, _reading: Reading, _init: bool) -> L3:
    return L3([], "groups")


def _fqdns(selectors: Sequence[Object], path: str, reading: Reading, _init: bool) -> L3:
    for at, one in enumerate(selectors):
        check_fqdn(one, f"{path}[{at}]", reading)
    return L3([], "fqdn")


_MEMBERS: dict[str, Callable[[Any, str, Reading, bool], L3]] = {
    "fromEndpoints": _endpoints,
    "fromEntities": _entities,
    "fromCIDR": _cidrs,
    "fromCIDRSet": _cidr_sets,
    "fromNodes": _nodes,
    "fromGroups": _groups,
    "toEndpoints": _endpoints,
    "toEntities": _entities,
    "toCIDR": _cidrs,
    "toCIDRSet": _cidr_sets,
    "toServices": _services,
    "toNodes": _nodes,
    "toGroups": _groups,
    "toFQDNs": _fqdns,
}
_NAMES = {prefix: tuple(name for name in _MEMBERS if name.startswith(prefix)) for prefix in ("from", "to")}
