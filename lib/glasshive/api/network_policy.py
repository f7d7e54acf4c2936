"""NetworkPolicy (networking.k8s.io/v1) -> rules.

Source: the Kubernetes API reference. What is easily missed: a rule without ``from`` (or with an empty one) is for
everybody; ``podSelector`` and ``namespaceSelector`` in one element are both needed, in two elements either; a section
that ``policyTypes`` does not name counts for nothing; ``ipBlock`` never selects pods.
"""

from __future__ import annotations

from typing import Any

from glasshive.api import policy_cidrs, policy_ports
from glasshive.api.crd import INTEGER, STRING, STRINGS, Schema, array
from glasshive.api.policy_reading import Reading
from glasshive.api.policy_schema import WORD, said
from glasshive.api.policy_selectors import (
    Matches,
    in_namespace,
    kubernetes_matches,
    namespace_matches,
    selector_schema,
)
from glasshive.model.policy import (
    Action,
    DefaultDeny,
    Direction,
    LabelPeer,
    Peer,
    Ports,
    Rule,
    RuleOrigin,
    Subject,
    SubjectKind,
)

Object = dict[str, Any]
Read = tuple[list[Rule], list[DefaultDeny]]
_PEERS = {Direction.INGRESS: "from", Direction.EGRESS: "to"}


def _schema() -> Schema:
    block: Schema = {"type": "object", "required": ["cidr"], "properties": {"cidr": STRING, "except": STRINGS}}
    peer: Schema = {
        "type": "object",
        "properties": {
            "podSelector": selector_schema("Pods; of the policy's namespace unless namespaceSelector is there too."),
            "namespaceSelector": selector_schema("Namespaces; {} is all of them."),
            "ipBlock": said("Addresses outside of the cluster.", block),
        },
    }
    port: Schema = {
        "type": "object",
        "properties": {
            "protocol": {"type": "string", "enum": ["TCP", "UDP", "SCTP"], WORD: "protocol"},
            "port": {"x-kubernetes-int-or-string": True},
            "endPort": INTEGER,
        },
    }

    def rules(peers: str) -> Schema:
        return array({"type": "object", "properties": {peers: array(peer), "ports": array(port)}})

    types: Schema = {"type": "string", "enum": ["Ingress", "Egress"], WORD: "policy type"}
    properties = {
        "podSelector": selector_schema("The pods that the policy is for."),
        "policyTypes": array(types),
        "ingress": rules("from"),
        "egress": rules("to"),
    }
    return {"type": "object", "properties": properties}


SCHEMA: Schema = {"type": "object", "required": ["spec"], "properties": {"spec": _schema()}}


def read(obj: Object, reading: Reading) -> Read:
    """Rules and default denies of an object that fits ``SCHEMA``."""
    spec = obj["spec"]
    selected = kubernetes_matches(spec.get("podSelector"), "spec.podSelector", reading)
    subject = Subject(SubjectKind.ENDPOINT, (*selected, in_namespace(reading.namespace)))
    rules: list[Rule] = []
    denies: list[DefaultDeny] = []
    for direction in _directions(spec, reading):
        denies.append(DefaultDeny(reading.ref, subject, direction))
        for at, one in enumerate(spec.get(direction.value) or ()):
            rules.append(_rule(one, at, direction, subject, reading))
    return rules, denies


def _directions(spec: Object, reading: Reading) -> list[Direction]:
    """The directions that the policy is for: what policyTypes says, else ingress, and egress if it has rules."""
    given = spec.get("policyTypes")
    if not given:
        return [Direction.INGRESS, Direction.EGRESS] if spec.get("egress") else [Direction.INGRESS]
    found = [one for one in Direction if one.value.capitalize() in given]
    for one in Direction:
        if one not in found and spec.get(one.value):
            reading.warn(
                f"spec.{one.value}",
                f"is without effect: policyTypes does not list {one.value.capitalize()}, so the policy leaves "
                f"{one.value} as it is",
            )
    return found


def _rule(one: Object, at: int, direction: Direction, subject: Subject, reading: Reading) -> Rule:
    path = f"spec.{direction.value}[{at}]"
    peers: list[Peer] | None = None
    word = _PEERS[direction]
    for name, means in ((word, "everybody"), ("ports", "every port")):
        if one.get(name) == []:
            reading.warn(f"{path}.{name}", f"is an empty list, which means {means}: leave it out if that is meant")
    if one.get(word):
        peers = []
        for number, peer in enumerate(one[word]):
            found = _peer(peer, f"{path}.{word}[{number}]", reading)
            if found is not None:
                peers.append(found)
    given: list[Ports] | None = None
    if one.get("ports"):
        read_ports = (
            policy_ports.kubernetes_port(port, f"{path}.ports[{number}]", reading)
            for number, port in enumerate(one["ports"])
        )
        given = [port for port in read_ports if port is not None]
    return Rule(
        RuleOrigin(reading.ref, direction.value, at),
        subject,
        direction,
        Action.ALLOW,
        None if peers is None else tuple(dict.fromkeys(peers)),
        None if given is None else tuple(dict.fromkeys(given)),
    )


def _peer(peer: Object, path: str, reading: Reading) -> Peer | None:
    pods, namespaces, block = peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock")
    if block is not None:
        if pods is not None or namespaces is not None:
            reading.error(path, "may not specify both ipBlock and another peer")
        prefix = policy_cidrs.read_prefix(block["cidr"], f"{path}.ipBlock.cidr", reading, slash=True)
        excepts = policy_cidrs.read_excepts(block.get("except") or (), prefix, f"{path}.ipBlock.except", reading)
        if prefix in excepts:
            reading.error(f"{path}.ipBlock.except", f"leaves nothing of {prefix}")
        return None if prefix is None else policy_cidrs.peer(prefix, excepts)
    if pods is None and namespaces is None:
        reading.error(path, "must specify a peer: podSelector, namespaceSelector or ipBlock")
        return None
    where: Matches = (in_namespace(reading.namespace),)
    if namespaces is not None:
        where = namespace_matches(namespaces, f"{path}.namespaceSelector", reading)
    return LabelPeer((*kubernetes_matches(pods, f"{path}.podSelector", reading), *where))
