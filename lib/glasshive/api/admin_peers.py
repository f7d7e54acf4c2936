"""Subjects and peers of the policy.networking.k8s.io kinds -> values. Both versions have the same ones.

Identity-based policy honours pods, namespaces and all nodes exactly. Its CIDRs are for what is outside of the cluster,
while ``networks`` here also matches pods and nodes by address: where that could make a difference, an Accept rule is
honoured for the outside (and says so), a Deny or Pass rule is refused. A peer with no field that we know comes from a
newer definition and fails closed, as the kinds' documentation demands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from glasshive.api.crd import STRING, Schema, array
from glasshive.api.policy_cidrs import contains, read_prefix
from glasshive.api.policy_reading import EVERY, Reading, Use
from glasshive.api.policy_schema import FAIL_CLOSED, WORD, said, structure, unknown
from glasshive.api.policy_selectors import entity_peers, kubernetes_matches, namespace_matches, selector_schema
from glasshive.model.address import IPV4_ALL, IPV6_ALL, Prefix
from glasshive.model.policy import Action, CidrPeer, LabelPeer, Match, Peer, Subject, SubjectKind

Object = dict[str, Any]
_KNOWN = ("namespaces", "pods", "nodes", "networks", "domainNames")
NAMELESS = ("nodes", "networks", "domainNames")
"""Peers that give no names to their ports."""
_DOMAIN = r"^(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$"


@dataclass
class Peers:
    """What the peers of one rule come to. ``everybody`` beats ``peers``; ``closed``: one of them is not understood."""

    peers: list[Peer] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    everybody: bool = False
    closed: bool = False


def _pods() -> Schema:
    return structure(
        "Pods of some namespaces; both selectors must match.",
        ("podSelector",),
        namespaceSelector=selector_schema("Labels of namespaces; {} is all of them."),
        podSelector=selector_schema("Labels of pods; {} is all of them."),
    )


def _pods_or_namespaces() -> dict[str, Schema]:
    return {"namespaces": selector_schema("All pods of the namespaces with these labels."), "pods": _pods()}


def subject_schema() -> Schema:
    """Schema of ``subject``."""
    found = structure("The pods that the policy is for: one of namespaces and pods.", **_pods_or_namespaces())
    return {**found, "minProperties": 1, "maxProperties": 1}


def peer_schema(*, egress: bool) -> Schema:
    """Schema of one element of ``from`` or ``to``."""
    found = structure("A peer, by exactly one field.", **_pods_or_namespaces())
    if egress:
        domain: Schema = {"type": "string", "pattern": _DOMAIN, WORD: "a domain name, with *. in front at most"}
        networks = array({**STRING, "maxLength": 43})
        found["properties"] |= {
            "nodes": selector_schema("Nodes by label; {} is all of them."),
            "networks": said("Blocks of addresses.", networks, minItems=1, maxItems=25, **{WORD: "networks"}),
            "domainNames": said(
                "DNS names, in Accept (Allow) rules only. Not enforced yet.", array(domain), minItems=1, maxItems=25
            ),
        }
    return {**found, "minProperties": 1, "maxProperties": 1, FAIL_CLOSED: True}


def read_subject(subject: Object, reading: Reading) -> Subject:
    """The pods that the policy is for; pods of the host's network are not among them."""
    return Subject(SubjectKind.ENDPOINT, _selected(subject, "spec.subject", reading))


def _selected(given: Object, path: str, reading: Reading) -> tuple[Match, ...]:
    """Conditions of an object with ``namespaces`` or ``pods``."""
    pods = given.get("pods")
    if pods is None:
        return namespace_matches(given.get("namespaces"), f"{path}.namespaces", reading)
    where = namespace_matches(pods.get("namespaceSelector"), f"{path}.pods.namespaceSelector", reading)
    return (*kubernetes_matches(pods["podSelector"], f"{path}.pods.podSelector", reading), *where)


def read_peers(peers: Sequence[Object], action: Action, path: str, reading: Reading) -> Peers:
    """The peers of one rule."""
    found = Peers()
    networks: list[tuple[str, Prefix]] = []
    for at, peer in enumerate(peers):
        here = f"{path}[{at}]"
        kind = next((name for name in _KNOWN if peer.get(name) is not None), None)
        if kind is None:
            _fail_closed(peer, here, reading)
            found.closed = True
        elif kind in ("namespaces", "pods"):
            found.peers.append(LabelPeer(_selected(peer, here, reading)))
        elif kind == "nodes":
            _read_nodes(peer["nodes"], action, f"{here}.nodes", found, reading)
        elif kind == "networks":
            networks += _read_networks(peer["networks"], f"{here}.networks", reading)
        else:
            found.needs.add("fqdn")
            if action is not Action.ALLOW:
                reading.error(f"{here}.domainNames", "domain names are for Accept (Allow) rules only")
            else:
                reading.lacks(f"{here}.domainNames", "fqdn")
    _resolve_networks(networks, action, found, reading)
    return found


def _fail_closed(peer: Object, path: str, reading: Reading) -> None:
    """A field from a newer definition; in a file it is a slip of the pen, because nobody has accepted it yet."""
    names = [unknown(name, _KNOWN) for name in peer]
    what = "; ".join(names) if names else f"has none of {', '.join(_KNOWN)}"
    if reading.ref.file:
        reading.error(path, what)
    else:
        reading.warn(path, f"{what}. It fails closed: an Accept rule matches nothing, another one denies everything")


def _read_nodes(selector: Object, action: Action, path: str, found: Peers, reading: Reading) -> None:
    if not any(selector.values()):
        everywhere = (*(entity_peers("host", "") or ()), *(entity_peers("remote-node", "") or ()))
        found.peers += everywhere
    elif action is Action.ALLOW:
        kubernetes_matches(selector, path, reading)
        found.needs.add("nodes")
        reading.lacks(path, "nodes")
    else:
        reading.error(
            path, f"a {action} rule for some nodes cannot be enforced: nodes' identities carry no labels here; "
            "{} (all nodes) can"
        )  # fmt: skip


def _read_networks(texts: Sequence[str], path: str, reading: Reading) -> list[tuple[str, Prefix]]:
    found = (
        (f"{path}[{at}]", read_prefix(text, f"{path}[{at}]", reading, slash=True)) for at, text in enumerate(texts)
    )
    return [(here, prefix) for here, prefix in found if prefix is not None]


def _resolve_networks(networks: Sequence[tuple[str, Prefix]], action: Action, found: Peers, reading: Reading) -> None:
    """Networks as peers, where identities can tell: all addresses, or addresses outside of the cluster."""
    own = reading.lookups.cluster_prefixes or None
    if networks:
        reading.uses.add(Use("Node", "", EVERY))
    prefixes = {prefix for _, prefix in networks}
    families = {one.is_ipv4 for one in own} if own else {True, False}
    if networks and all((IPV4_ALL if family else IPV6_ALL) in prefixes for family in families):
        found.everybody = True
        return
    for path, prefix in networks:
        found.peers.append(CidrPeer(prefix))
        if own is not None and not any(contains(prefix, one) or contains(one, prefix) for one in own):
            continue
        inside = "pods and nodes have identities and are not matched by their addresses"
        if action is Action.ALLOW or own is None:
            reading.warn(path, f"{prefix} is honoured for addresses outside of the cluster only: {inside}")
        else:
            reading.error(
                path,
                f"a {action} rule for {prefix}, which holds addresses of the cluster, cannot be enforced: {inside}; "
                "name them by pods, namespaces or nodes, and leave their addresses out",
            )
