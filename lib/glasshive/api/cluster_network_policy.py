"""ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) -> rules of the Admin or Baseline tier (features.md, 2.7).

Upstream's short name ``cnp`` belongs to CiliumNetworkPolicy here, which people type more often.
"""

from __future__ import annotations

from typing import Any

from glasshive.api.admin_peers import peer_schema, subject_schema
from glasshive.api.admin_rules import Words, read_rules
from glasshive.api.crd import INTEGER, STRING, Schema, array, column, definition
from glasshive.api.policy_ports import PROTOCOLS, port_range, ports
from glasshive.api.policy_reading import Reading
from glasshive.api.policy_schema import WORD, choice, said, schema_of, structure
from glasshive.api.policy_status import STATUS_SCHEMA
from glasshive.api.resources import Resource, Subresource
from glasshive.model.policy import PROTOCOL_ANY, Action, DefaultDeny, Ports, Rule, Tier

Object = dict[str, Any]
CLUSTER_NETWORK_POLICY = Resource(
    "policy.networking.k8s.io", "v1alpha2", "clusternetworkpolicies", "ClusterNetworkPolicy", False,
    subresources=(Subresource("status", "ClusterNetworkPolicy"),),
)  # fmt: skip
_ACTIONS = {"Accept": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS}
_TIERS = {"Admin": Tier.ADMIN, "Baseline": Tier.BASELINE}
_MAX = 25
_ONE = {"minProperties": 1, "maxProperties": 1}
_NUMBER: Schema = {**INTEGER, "minimum": 1, "maximum": 65535, WORD: "port"}


def _protocol_schema() -> Schema:
    ranged = structure("Ports from start to end.", ("start", "end"), start=_NUMBER, end=_NUMBER)
    port = {**structure("One port or a range.", number=_NUMBER, range=ranged), **_ONE}

    def of(word: str) -> Schema:
        found = structure(f"{word}, to these ports.", destinationPort=said("Ports at the receiver.", port))
        return {**found, "minProperties": 1}

    named = said("Name of a container port, of any protocol.", STRING)
    fields = {"tcp": of("TCP"), "udp": of("UDP"), "sctp": of("SCTP"), "destinationNamedPort": named}
    return {**structure("A protocol, by exactly one field.", **fields), **_ONE}


def _rules(word: str) -> Schema:
    peers = array(peer_schema(egress=word == "to"))
    actions = choice(
        "What is done. Pass skips the rest of the tier and leaves the decision to the next.", "action", *_ACTIONS
    )
    rule = structure(
        "A rule; the first that matches decides.",
        ("action", word),
        name=said("What people call the rule.", STRING, maxLength=100),
        action=actions,
        protocols=said(
            "Protocols and ports; without them every one.", array(_protocol_schema()), minItems=1, maxItems=_MAX,
            **{WORD: "protocols"},
        ),
        **{word: said("Peers; any of them will do.", peers, minItems=1, maxItems=_MAX, **{WORD: "peers"})},
    )  # fmt: skip
    return {**array(rule), "maxItems": _MAX, WORD: "rules"}


def _schema() -> Schema:
    spec = structure(
        "Rules of the cluster's administrator.",
        ("tier", "priority", "subject"),
        tier=choice("Admin: before NetworkPolicy objects. Baseline: where none of them decides.", "tier", *_TIERS),
        priority=said(
            "0 to 1000; within a tier lower ones are asked first.",
            {**INTEGER, "minimum": 0, "maximum": 1000, WORD: "priority"},
        ),
        subject=subject_schema(),
        ingress=said("Rules for what the pods receive, in order.", _rules("from")),
        egress=said("Rules for what the pods send, in order.", _rules("to")),
    )
    return {"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": STATUS_SCHEMA}}


SCHEMA = _schema()


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    columns = [
        column("Tier", ".spec.tier"),
        column("Priority", ".spec.priority"),
        column("Valid", ".status.conditions[?(@.type=='Valid')].status"),
        column("Age", ".metadata.creationTimestamp", "date"),
    ]
    return definition(
        CLUSTER_NETWORK_POLICY, schema_of(SCHEMA["properties"]), columns,
        "What the cluster's administrator decides about pods: in the tier Admin before NetworkPolicy objects are "
        "asked, in the tier Baseline for pods that none of them is for. The first rule that matches decides.",
    )  # fmt: skip


def read(obj: Object, reading: Reading) -> tuple[list[Rule], list[DefaultDeny]]:
    """Rules of an object that fits ``SCHEMA``."""
    spec = obj["spec"]
    return read_rules(spec, _WORDS, _TIERS[spec["tier"]], spec["priority"], reading), []


def _read_port(one: Object, path: str, reading: Reading) -> Ports | None:
    named = one.get("destinationNamedPort")
    if named is not None:
        return ports(PROTOCOL_ANY, name=named)
    word = next((name for name in ("tcp", "udp", "sctp") if one.get(name) is not None), None)
    if word is None:
        reading.error(path, "must have one of tcp, udp, sctp, destinationNamedPort")
        return None
    protocol = PROTOCOLS[word.upper()]
    port = one[word].get("destinationPort") or {}
    if port.get("number") is not None:
        return ports(protocol, port["number"], port["number"])
    ranged = port.get("range")
    if ranged is None:
        return ports(protocol)
    return port_range(protocol, ranged["start"], ranged["end"], f"{path}.{word}.destinationPort.range.end", reading)


_WORDS = Words(_ACTIONS, "protocols", _read_port)
