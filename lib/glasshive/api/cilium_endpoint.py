"""CiliumEndpoint (cilium.io/v2): what a node's agent says about one pod's endpoint. The object has a status only."""

from __future__ import annotations

from typing import Any

from glasshive.api.crd import ANYTHING, INTEGER, STRING, STRINGS, array, column, definition, record
from glasshive.api.resources import Resource

# The status is written as a plain field: upstream's definition offers no status subresource for this kind.
CILIUM_ENDPOINT = Resource(
    "cilium.io", "v2", "ciliumendpoints", "CiliumEndpoint", True, ("cep", "ciliumep"), categories=("cilium",)
)

STATES = (
    "creating",
    "waiting-for-identity",
    "not-ready",
    "waiting-to-regenerate",
    "regenerating",
    "restoring",
    "ready",
    "disconnecting",
    "disconnected",
    "invalid",
)


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    identities = array(record(identity=INTEGER, identity_labels=ANYTHING, dest_port=INTEGER, protocol=INTEGER))
    direction = record(enforcing={"type": "boolean"}, state=STRING, allowed=identities, denied=identities)
    status = record(
        id=INTEGER,
        controllers=array(ANYTHING),
        encryption=record(key=INTEGER),
        external_identifiers=ANYTHING,
        health=ANYTHING,
        identity=record(id=INTEGER, labels=STRINGS),
        log=array(ANYTHING),
        named_ports=array(record(name=STRING, port=INTEGER, protocol=STRING)),
        networking=record(addressing=array(record(ipv4=STRING, ipv6=STRING)), node=STRING),
        policy=record(ingress=direction, egress=direction),
        service_account=STRING,
        state={"type": "string", "enum": list(STATES)},
        visibility_policy_status=STRING,
    )
    columns = [
        column("Security Identity", ".status.identity.id", "integer"),
        column("Ingress Enforcement", ".status.policy.ingress.state", priority=1),
        column("Egress Enforcement", ".status.policy.egress.state", priority=1),
        column("Endpoint State", ".status.state"),
        column("IPv4", ".status.networking.addressing[0].ipv4"),
        column("IPv6", ".status.networking.addressing[0].ipv6"),
    ]
    told = "A pod as its node's agent knows it: identity, addresses, and whether policy is enforced."
    return definition(CILIUM_ENDPOINT, {"status": status}, columns, told)
