"""Policy objects as tests write them, and short forms of what they become."""

from __future__ import annotations

from typing import Any

import yaml

from glasshive.api.policies import parse
from glasshive.api.policy_reading import NO_LOOKUPS, Lookups, Options, Parsed
from glasshive.model.policy import CidrPeer, LabelPeer, Match, Peer, Ports, Rule

Object = dict[str, Any]
NAMESPACE = "k8s:io.kubernetes.pod.namespace"


def network_policy(spec: str | Object, namespace: str = "shop") -> Object:
    return _object("networking.k8s.io/v1", "NetworkPolicy", {"name": "np", "namespace": namespace}, spec)


def cilium_policy(spec: str | Object, namespace: str = "shop") -> Object:
    return _object("cilium.io/v2", "CiliumNetworkPolicy", {"name": "cnp", "namespace": namespace}, spec)


def clusterwide_policy(spec: str | Object) -> Object:
    return _object("cilium.io/v2", "CiliumClusterwideNetworkPolicy", {"name": "ccnp"}, spec)


def admin_policy(spec: str | Object, kind: str = "AdminNetworkPolicy", version: str = "v1alpha1") -> Object:
    name = "default" if kind == "BaselineAdminNetworkPolicy" else "anp"
    return _object(f"policy.networking.k8s.io/{version}", kind, {"name": name}, spec)


def cluster_policy(spec: str | Object) -> Object:
    return admin_policy(spec, "ClusterNetworkPolicy", "v1alpha2")


def _object(api_version: str, kind: str, metadata: Object, spec: str | Object) -> Object:
    body = yaml.safe_load(spec) if isinstance(spec, str) else spec
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": body}


def read(obj: Object, lookups: Lookups = NO_LOOKUPS, **options: Any) -> Parsed:
    return parse(obj, lookups, Options(**options))


def rules(obj: Object, lookups: Lookups = NO_LOOKUPS, **options: Any) -> list[str]:
    """The rules of a valid object, one line each."""
    parsed = read(obj, lookups, **options)
    assert parsed.valid, parsed.policy.findings
    return [rule_text(rule) for rule in parsed.policy.rules]


def errors(obj: Object, **options: Any) -> list[str]:
    """The errors of an object, ``path: message``; an object with errors has no rules."""
    parsed = read(obj, **options)
    found = [f"{one.path}: {one.message}" for one in parsed.policy.findings if one.severity == "error"]
    assert bool(found) != parsed.valid
    if found:
        assert not parsed.policy.rules
        assert not parsed.policy.default_denies
    return found


def warnings(obj: Object, **options: Any) -> list[str]:
    return [f"{one.path}: {one.message}" for one in read(obj, **options).policy.findings if one.severity == "warning"]


def rule_text(rule: Rule) -> str:
    peers = "*" if rule.peers is None else " | ".join(peer_text(one) for one in rule.peers) or "nobody"
    ports = "*" if rule.ports is None else " ".join(port_text(one) for one in rule.ports) or "nothing"
    needs = f" needs {' '.join(sorted(rule.needs))}" if rule.needs else ""
    return f"{rule.origin.section}[{rule.origin.index}] {rule.action} {peers} : {ports}{needs}"


def peer_text(peer: Peer) -> str:
    if isinstance(peer, CidrPeer):
        return str(peer.prefix) + "".join(f" -{one}" for one in peer.excepts)
    assert isinstance(peer, LabelPeer)
    return matches_text(peer.matches)


def matches_text(matches: tuple[Match, ...]) -> str:
    return " ".join(_match_text(one) for one in matches) or "{}"


def _match_text(one: Match) -> str:
    key = f"{one.source}:{one.key}".replace(NAMESPACE, "ns").replace("k8s:io.cilium.k8s.namespace.labels.", "nslabel:")
    values = ",".join(sorted(one.values))
    sign = {"in": f"={values}", "notin": f"!={values}", "exists": "", "absent": ""}[one.op]
    return f"{'!' if one.op == 'absent' else ''}{key.removeprefix('any:')}{sign}"


def port_text(one: Ports) -> str:
    name = {0: "any", 1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmpv6", 112: "vrrp", 132: "sctp"}[one.protocol]
    if one.name:
        return f"{name}/{one.name}"
    if (one.first, one.last) == (0, 65535):
        return name
    return f"{name}/{one.first}" + (f"-{one.last}" if one.last != one.first else "")
