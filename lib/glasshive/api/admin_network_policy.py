"""AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1) -> rules (features.md, 2.7)."""

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
GROUP = "policy.networking.k8s.io"
ADMIN_NETWORK_POLICY = Resource(
    GROUP, "v1alpha1", "adminnetworkpolicies", "AdminNetworkPolicy", False, ("anp",),
    subresources=(Subresource("status", "AdminNetworkPolicy"),),
)  # fmt: skip
BASELINE_ADMIN_NETWORK_POLICY = Resource(
    GROUP, "v1alpha1", "baselineadminnetworkpolicies", "BaselineAdminNetworkPolicy", False, ("banp",),
    subresources=(Subresource("status", "BaselineAdminNetworkPolicy"),),
)  # fmt: skip
_ACTIONS = {"Allow": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS}
_MAX = 100
_ONE = {"minProperties": 1, "maxProperties": 1}
_NUMBER: Schema = {**INTEGER, "minimum": 1, "maximum": 65535, WORD: "port"}


def _port_schema() -> Schema:
    protocol = choice("TCP by default.", "protocol", "TCP", "UDP", "SCTP")
    ranged = structure("Ports from start to end.", ("start", "end"), protocol=protocol, start=_NUMBER, end=_NUMBER)
    found = structure(
        "Ports, by exactly one field.",
        portNumber=structure("One port.", ("port",), protocol=protocol, port=_NUMBER),
        namedPort=said("Name of a container port, of any protocol.", STRING),
        portRange=ranged,
    )
    return {**found, **_ONE}


def _rules(word: str, *actions: str) -> Schema:
    peers = array(peer_schema(egress=word == "to"))
    more = " Pass leaves the decision to NetworkPolicy objects." if "Pass" in actions else ""
    rule = structure(
        "A rule; the first that matches decides.",
        ("action", word),
        name=said("What people call the rule.", STRING, maxLength=100),
        action=choice(f"What is done.{more}", "action", *actions),
        ports=said("Ports; without them every port and protocol.", array(_port_schema()), maxItems=_MAX),
        **{word: said("Peers; any of them will do.", peers, minItems=1, maxItems=_MAX, **{WORD: "peers"})},
    )
    return {**array(rule), "maxItems": _MAX, WORD: "rules"}


def _schema(*actions: str, priority: bool) -> Schema:
    spec = structure(
        "Rules of the cluster's administrator.",
        ("subject", "priority") if priority else ("subject",),
        subject=subject_schema(),
        ingress=said("Rules for what the pods receive, in order.", _rules("from", *actions)),
        egress=said("Rules for what the pods send, in order.", _rules("to", *actions)),
    )
    if priority:
        number = {**INTEGER, "minimum": 0, "maximum": 1000, WORD: "priority"}
        spec["properties"]["priority"] = said("0 to 1000; lower ones are asked first.", number)
    return {"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": STATUS_SCHEMA}}


ADMIN_SCHEMA = _schema("Allow", "Deny", "Pass", priority=True)
BASELINE_SCHEMA = _schema("Allow", "Deny", priority=False)


def crds() -> list[dict[str, Any]]:
    """Both CustomResourceDefinitions."""
    age = column("Age", ".metadata.creationTimestamp", "date")
    valid = column("Valid", ".status.conditions[?(@.type=='Valid')].status")
    priority = column("Priority", ".spec.priority")
    return [
        definition(
            ADMIN_NETWORK_POLICY,
            schema_of(ADMIN_SCHEMA["properties"]),
            [priority, valid, age],
            "What the cluster's administrator decides about pods before NetworkPolicy objects are asked. The "
            "matching rule with the lowest priority number decides; Pass leaves it to NetworkPolicy objects.",
        ),
        definition(
            BASELINE_ADMIN_NETWORK_POLICY,
            schema_of(BASELINE_SCHEMA["properties"]),
            [valid, age],
            "What the cluster's administrator decides about pods that no NetworkPolicy is for. There is one, and its "
            "name is default.",
        ),
    ]


def read(obj: Object, reading: Reading) -> tuple[list[Rule], list[DefaultDeny]]:
    """Rules of an object of either kind that fits its schema."""
    spec = obj["spec"]
    if reading.ref.kind == ADMIN_NETWORK_POLICY.kind:
        return read_rules(spec, _WORDS, Tier.ADMIN, spec["priority"], reading), []
    if reading.ref.name != "default":
        reading.error("metadata.name", "there is one BaselineAdminNetworkPolicy, and its name is default")
    return read_rules(spec, _WORDS, Tier.BASELINE, 0, reading), []


def _read_port(one: Object, path: str, reading: Reading) -> Ports | None:
    named, number, ranged = one.get("namedPort"), one.get("portNumber"), one.get("portRange")
    if named is not None:
        return ports(PROTOCOL_ANY, name=named)
    if number is not None:
        return ports(PROTOCOLS[number.get("protocol") or "TCP"], number["port"], number["port"])
    if ranged is None:
        reading.error(path, "must have one of portNumber, namedPort, portRange")
        return None
    protocol = PROTOCOLS[ranged.get("protocol") or "TCP"]
    return port_range(protocol, ranged["start"], ranged["end"], f"{path}.portRange.end", reading)


_WORDS = Words(_ACTIONS, "ports", _read_port)
