"""Schemas and definitions of CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (cilium.io/v2).

Fields and limits: reference/features.md, 2.5. The descriptions are what ``kubectl explain cnp.spec.ingress`` prints.
"""

from __future__ import annotations

from typing import Any

from glasshive.api.crd import ANYTHING, INTEGER, STRING, STRING_MAP, STRINGS, Schema, array, column, definition
from glasshive.api.policy_ports import ICMP_TYPES
from glasshive.api.policy_schema import WORD, choice, said, schema_of, structure
from glasshive.api.policy_selectors import ENTITIES, selector_schema
from glasshive.api.policy_status import STATUS_SCHEMA
from glasshive.api.resources import Resource, Subresource

_CATEGORIES = ("cilium", "ciliumpolicy")
CILIUM_NETWORK_POLICY = Resource(
    "cilium.io", "v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy", True, ("cnp", "ciliumnp"),
    categories=_CATEGORIES, subresources=(Subresource("status", "CiliumNetworkPolicy"),),
)  # fmt: skip
CILIUM_CLUSTERWIDE_NETWORK_POLICY = Resource(
    "cilium.io", "v2", "ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", False, ("ccnp",),
    categories=_CATEGORIES, subresources=(Subresource("status", "CiliumClusterwideNetworkPolicy"),),
)  # fmt: skip
MAX_PORTS = 40
_PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP", "ICMPv6", "VRRP", "IGMP", "ANY")
_BOOLEAN: Schema = {"type": "boolean"}


def _port() -> Schema:
    return structure(
        "One port, a range of ports, or a named port, of one protocol or of TCP, UDP and SCTP together.",
        ("port",),
        port=said('Number in quotes, the name of a container port, or "0" for every port.', STRING),
        endPort=said("Last port of a range that begins at port.", INTEGER, minimum=0, maximum=65535, **{WORD: "port"}),
        protocol=choice("ANY, the default, is TCP, UDP and SCTP.", "protocol", *_PROTOCOLS),
    )


def _plain_ports() -> Schema:
    limit = {"maxItems": MAX_PORTS, WORD: "ports"}
    return structure("Ports; any of them will do.", ports=said("The ports.", array(_port()), **limit))


def _tls(description: str) -> Schema:
    secret = structure("The Secret that holds them.", ("name",), namespace=STRING, name=STRING)
    return structure(description, ("secret",), secret=secret, trustedCA=STRING, certificate=STRING, privateKey=STRING)


def _l7_rules() -> Schema:
    match = structure(
        "A header that must have a value.", ("name",), name=STRING, value=STRING,
        secret=structure("The Secret that holds the value.", namespace=STRING, name=STRING),
        mismatch=choice("What to do with other requests.", "mismatch action", "LOG", "ADD", "DELETE", "REPLACE"),
    )  # fmt: skip
    http = structure(
        "What a request must be like.",
        method=said("Regular expression of the whole method.", STRING),
        path=said("Regular expression of the whole path.", STRING),
        host=said("Regular expression of the whole host.", STRING),
        headers=said('"Name" or "Name: value", all of them.', STRINGS), headerMatches=array(match),
    )  # fmt: skip
    kafka = structure(
        "What a Kafka request must be like.", role=choice("Kinds of requests.", "role", "produce", "consume"),
        apiKey=STRING, apiVersion=STRING, clientID=STRING, topic=said("Topic.", STRING, maxLength=249),
    )  # fmt: skip
    return structure(
        "What the messages on these ports must be like; one kind of rules only. Not enforced yet: what they would let "
        "through stays refused.",
        http=array(http), kafka=array(kafka), l7proto=STRING, l7=array(STRING_MAP), dns=array(_fqdn()),
    )  # fmt: skip


def _fqdn() -> Schema:
    return structure(
        "Names in the DNS: exactly one, or a pattern.",
        matchName=said("The name.", STRING, maxLength=255),
        matchPattern=said(
            "* stands for any characters of one label, **. for one or more labels.", STRING, maxLength=255
        ),
    )


def _ports_with_l7() -> Schema:
    config = structure(
        "Where the listener is defined.", ("name",), name=STRING,
        kind=choice("Kind of the object.", "kind", "CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"),
    )  # fmt: skip
    listener = structure(
        "A listener of the proxy that gets the connections. Not enforced yet.", ("envoyConfig", "name"),
        envoyConfig=config, name=said("Its name.", STRING, minLength=1),
        priority=said("Which listener wins.", INTEGER, minimum=1, maximum=100, **{WORD: "priority"}),
    )  # fmt: skip
    found = _plain_ports()
    found["properties"] |= {
        "rules": _l7_rules(),
        "serverNames": said("Server names of TLS. Not enforced yet.", STRINGS),
        "listener": listener,
        "terminatingTLS": _tls("How the proxy ends the client's TLS. Not enforced yet."),
        "originatingTLS": _tls("How the proxy speaks TLS to the server. Not enforced yet."),
    }
    return found


def _icmps() -> Schema:
    names = ", ".join(ICMP_TYPES["IPv4"])
    field = structure(
        "A type of ICMP messages.", ("type",),
        family=choice("IPv4, the default, or IPv6.", "family", "IPv4", "IPv6"),
        type={"x-kubernetes-int-or-string": True, "description": f"Number 0 to 255, or a name; for IPv4: {names}."},
    )  # fmt: skip
    block = structure("Types; any will do.", fields=said("The types.", array(field), maxItems=40, **{WORD: "types"}))
    return said("Types of ICMP messages, instead of toPorts.", array(block))


def _cidr_set() -> Schema:
    return structure(
        "A block of addresses, given by one of cidr, cidrGroupRef, or cidrGroupSelector.",
        cidr=said("The block, such as 10.0.0.0/8.", STRING),
        cidrGroupRef=said("Name of a CiliumCIDRGroup.", STRING, maxLength=253),
        cidrGroupSelector=selector_schema("Selects CiliumCIDRGroups by their labels."),
        **{"except": said("Blocks inside that are left out.", STRINGS)},
    )


def _peers(word: str) -> dict[str, Schema]:
    """The members that both directions have."""
    selected = selector_schema("Labels of endpoints; {} is every endpoint of the namespace.")
    entity: Schema = {"type": "string", "enum": list(ENTITIES), WORD: "entity"}
    return {
        f"{word}Endpoints": said(
            "Endpoints by label; in the policy's namespace unless k8s:io.kubernetes.pod.namespace or labels of a "
            "namespace are given. An empty list selects nobody.", array(selected),
        ),
        f"{word}Entities": said("Well-known peers.", array(entity)),
        f"{word}CIDR": said("Blocks of addresses outside of the cluster; they never select pods.", STRINGS),
        f"{word}CIDRSet": said("The same with exceptions and groups.", array(_cidr_set())),
        f"{word}Nodes": said("Nodes by label; needs enable-node-selector-labels.", array(selector_schema("Labels."))),
        f"{word}Groups": said("Groups of a cloud provider. Not enforced.", array(ANYTHING)),
        f"{word}Requires": said("Refused: removed upstream in 1.19.", array(selector_schema("Labels."))),
    }  # fmt: skip


def _services() -> Schema:
    named = structure("A Service by name.", serviceName=STRING, namespace=STRING)
    selected = structure(
        "Services by label.", ("selector",), namespace=STRING, selector=selector_schema("Labels of Services.")
    )
    one = structure("One or more Services.", k8sService=named, k8sServiceSelector=selected)
    return said("Pods behind Services, or the addresses of Services without a selector.", array(one))


def _rule(word: str, description: str, *, deny: bool) -> Schema:
    fields = {**_peers(word), "icmps": _icmps()}
    if word == "to":
        fields["toServices"] = _services()
    ports = _plain_ports() if deny else _ports_with_l7()
    fields["toPorts"] = said("Ports at the receiving end; without them every port and protocol.", array(ports))
    if not deny:
        mode = choice("How.", "authentication mode", "disabled", "required", "test-always-fail")
        fields["authentication"] = structure(
            "Mutual authentication of the peers. Not enforced yet.", ("mode",), mode=mode
        )
        if word == "to":
            fields["toFQDNs"] = said("Peers by DNS name. Not enforced yet.", array(_fqdn()))
    return array(structure(description, **fields))


def _spec(selector: str) -> Schema:
    both = "All members of a rule must match; without peers it is for everybody."
    return structure(
        f"Whom the policy is for and what it allows and refuses. {selector}",
        endpointSelector=selector_schema("The endpoints that the policy is for; {} is all of them."),
        nodeSelector=selector_schema("The nodes whose own traffic the policy is for (host firewall)."),
        ingress=said(
            "What the endpoints may receive. Once there is a rule, everything else is refused; the empty rule {} "
            "allows nothing.", _rule("from", f"Allows what a peer sends. {both}", deny=False),
        ),
        ingressDeny=said("What they never receive, whatever allows it.", _rule("from", f"Refuses. {both}", deny=True)),
        egress=said(
            "What the endpoints may send. Once there is a rule, everything else is refused; the empty rule {} allows "
            "nothing.", _rule("to", f"Allows what goes to a peer. {both}", deny=False),
        ),
        egressDeny=said("What they never send, whatever allows it.", _rule("to", f"Refuses. {both}", deny=True)),
        enableDefaultDeny=structure(
            "Whether what no rule allows is refused; by default in each direction that has rules.",
            ingress=_BOOLEAN, egress=_BOOLEAN,
        ),
        labels=said("Labels of the policy itself.", array(ANYTHING)),
        description=said("What the policy is for.", STRING),
        log=structure("What flows say of this policy.", value=said("A text.", STRING, maxLength=32)),
    )  # fmt: skip


_SPEC = _spec("One of endpointSelector and nodeSelector is needed.")
SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "spec": _SPEC,
        "specs": said("Several specs, each on its own.", array(_SPEC)),
        "status": said("What Glasshive says of the policy.", STATUS_SCHEMA),
    },
}


def crds() -> list[dict[str, Any]]:
    """Both CustomResourceDefinitions."""
    columns = [
        column("Age", ".metadata.creationTimestamp", "date"),
        column("Valid", ".status.conditions[?(@.type=='Valid')].status"),
        column("Enforceable", ".status.conditions[?(@.type=='Enforceable')].status", priority=1),
    ]
    told = {
        CILIUM_NETWORK_POLICY: "Who may talk to pods of one namespace, and to whom they may talk: by labels, entities, "
        "addresses and ports. What one policy allows is allowed; what one refuses stays refused.",
        CILIUM_CLUSTERWIDE_NETWORK_POLICY: "The same as CiliumNetworkPolicy for pods of all namespaces, or "
        "(nodeSelector) for the nodes themselves.",
    }
    properties = schema_of(SCHEMA["properties"])
    return [definition(one, properties, columns, description) for one, description in told.items()]
