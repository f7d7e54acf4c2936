"""CiliumLocalRedirectPolicy (cilium.io/v2): calls of an address, or of a Service, go to a pod of the caller's node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glasshive.api.crd import CONDITIONS, STRING, Schema, array, column, definition, record
from glasshive.api.policy_schema import choice, said, schema_of, structure
from glasshive.api.policy_selectors import selector_schema
from glasshive.api.resources import Resource, Subresource
from glasshive.api.selectors import Selector, of_label_selector
from glasshive.api.service import PROTOCOLS
from glasshive.errors import UsageError
from glasshive.model.address import Address, parse
from glasshive.model.service import PROTOCOL_NAMES, ServicePort, ServiceRef

Object = dict[str, Any]
KIND = "CiliumLocalRedirectPolicy"
CILIUM_LOCAL_REDIRECT_POLICY = Resource(
    "cilium.io",
    "v2",
    "ciliumlocalredirectpolicies",
    KIND,
    True,
    ("clrp",),
    categories=("cilium", "ciliumpolicy"),
    subresources=(Subresource("status", KIND),),
)

_PORT = structure(
    "A port.",
    ("port", "protocol"),
    name=said("Pairs ports of the frontend with those of the backend; needed where there are several.", STRING),
    port=said("The port's number, as text.", STRING, pattern="^([1-9][0-9]{0,4})$"),
    protocol=choice("The protocol.", "protocol", "TCP", "UDP", "SCTP"),
)
_ADDRESS = structure(
    "An address and its ports.", ("ip", "toPorts"), ip=said("The address.", STRING),
    toPorts=said("The ports.", array(_PORT), minItems=1),
)  # fmt: skip
_SERVICE = structure(
    "A Service of type ClusterIP in the policy's namespace.", ("namespace", "serviceName"),
    namespace=said("The namespace, which is the policy's own.", STRING),
    serviceName=said("The name.", STRING),
    toPorts=said("Only these of its ports; without them, all.", array(_PORT)),
)  # fmt: skip
_FIXED = [{"rule": "self == oldSelf", "message": "is immutable: delete the policy and create another one"}]
_SPEC = structure(
    "Whose calls go where.",
    ("redirectBackend", "redirectFrontend"),
    description=said("What the policy is for.", STRING),
    redirectFrontend={
        **structure("What is called.", addressMatcher=_ADDRESS, serviceMatcher=_SERVICE),
        "x-kubernetes-validations": _FIXED,
    },
    redirectBackend={
        **structure(
            "Who answers: ready pods of the caller's node in the policy's namespace.",
            ("localEndpointSelector", "toPorts"),
            localEndpointSelector=selector_schema("The pods' labels."),
            toPorts=said("The pods' ports.", array(_PORT), minItems=1),
        ),
        "x-kubernetes-validations": _FIXED,
    },
    skipRedirectFromBackend=said(
        "Calls by the answering pods themselves go where they would go without the policy.",
        {"type": "boolean"}, default=False, x_kubernetes_validations=_FIXED,
    ),
)  # fmt: skip
SCHEMA: Schema = {"type": "object", "required": ["spec"],
                  "properties": {"spec": _SPEC, "status": record(conditions=CONDITIONS)}}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LocalRedirect:
    """A policy as agents know it. ``ports``: (port that is called, port of the pod), pairs of one protocol.

    Of ``address`` and ``service`` one is given. A policy with ``fault`` does nothing.
    """

    ref: ServiceRef
    created: str = ""
    address: Address | None = None
    service: ServiceRef | None = None
    front: tuple[ServicePort, ...] = ()
    """The ports that are called; empty: all of the Service's."""
    back: tuple[ServicePort, ...] = ()
    selector: Selector = ()
    skip: bool = False
    fault: str = ""


def crd() -> Object:
    """The CustomResourceDefinition."""
    columns = [column("Age", ".metadata.creationTimestamp", "date")]
    told = "Sends what goes to an address, or to a Service, to a pod on the caller's own node."
    return definition(CILIUM_LOCAL_REDIRECT_POLICY, schema_of(SCHEMA["properties"]), columns, told)


def read_redirect(obj: Object) -> LocalRedirect:
    """The policy of an object that fits the schema; what makes no sense beyond that is its ``fault``."""
    spec, metadata = obj["spec"], obj["metadata"]
    ref = ServiceRef(metadata.get("namespace") or "default", metadata["name"])
    front, back = spec["redirectFrontend"], spec["redirectBackend"]
    by_address, by_service = front.get("addressMatcher"), front.get("serviceMatcher")
    service = ServiceRef(by_service["namespace"], by_service["serviceName"]) if by_service else None
    fault, address = "", None
    if bool(by_address) == bool(by_service):
        fault = "spec.redirectFrontend: must have addressMatcher or serviceMatcher, and not both"
    elif by_address:
        try:
            address = parse(by_address["ip"])
        except UsageError as error:
            fault = f"spec.redirectFrontend.addressMatcher.ip: {error}"
    elif service is not None and service.namespace != ref.namespace:
        fault = f"spec.redirectFrontend.serviceMatcher.namespace: must be the policy's own, {ref.namespace}"
    wanted, answering = _ports((by_address or by_service or {}).get("toPorts")), _ports(back["toPorts"])
    return LocalRedirect(
        ref,
        metadata.get("creationTimestamp") or "",
        address,
        service,
        wanted,
        answering,
        of_label_selector(back["localEndpointSelector"]),
        bool(spec.get("skipRedirectFromBackend")),
        fault or (pairs(wanted, answering)[1] if wanted else ""),
    )


def _ports(listed: Any) -> tuple[ServicePort, ...]:
    return tuple(
        ServicePort((one.get("name") or "").lower(), PROTOCOLS[one["protocol"]], int(one["port"]))
        for one in listed or ()
    )


def pairs(
    front: tuple[ServicePort, ...], back: tuple[ServicePort, ...]
) -> tuple[list[tuple[ServicePort, ServicePort]], str]:
    """Ports that are called, each with the one that answers, and what is wrong with them ("" if nothing)."""
    if len(front) == 1 and len(back) == 1:
        found = [(front[0], back[0])]
    else:
        named: Mapping[str, ServicePort] = {one.name: one for one in back if one.name}
        found = [(one, named[one.name]) for one in front if one.name in named]
        missing = [one for one in front if one.name not in named]
        if missing:
            text = f"port {missing[0].port} has no port of the same name in spec.redirectBackend.toPorts"
            return [], f"{text}; where there are several, names pair them"
    for one, other in found:
        if one.protocol != other.protocol:
            names = PROTOCOL_NAMES[one.protocol], PROTOCOL_NAMES[other.protocol]
            return [], f"port {one.port} is {names[0]}, port {other.port} that answers is {names[1]}"
    if any(not 0 < one.port < 65536 for pair in found for one in pair):
        return [], "a port is larger than 65535"
    return found, ""
