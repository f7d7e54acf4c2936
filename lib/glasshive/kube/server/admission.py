"""Rules between objects: namespaces that must be open, service accounts, service addresses.

`admit` runs last before the store and may still change the object; what it takes (an address) it must be sure to use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.api.resources import CUSTOM_RESOURCE_DEFINITION, NAMESPACE

from . import crd, service_ip
from .status import forbidden, not_found

if TYPE_CHECKING:
    from .call import Call
    from .server import Api

Object = dict[str, Any]

#: Namespaces that are part of the cluster.
BOOT_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_UNDELETABLE = frozenset(BOOT_NAMESPACES[:3])


def namespace_open(api: Api, call: Call, name: str) -> None:
    """A new object needs a namespace that exists and is not going away."""
    namespace = call.namespace or ""
    record = api.store.newest(api.registry.builtin(NAMESPACE).table, ("", namespace))
    if record is None:
        raise not_found(NAMESPACE, namespace)
    if record.fields["status.phase"] == "Terminating":
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        error = forbidden(call.served.resource, name, why)
        cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated",
                 "field": "metadata.namespace"}  # fmt: skip
        error.details["causes"] = [cause]
        raise error


def deletable(call: Call) -> None:
    """The cluster's own namespaces stay."""
    if call.served.resource == NAMESPACE and call.name in _UNDELETABLE:
        raise forbidden(NAMESPACE, call.name or "", "this namespace may not be deleted")


def admit(api: Api, call: Call, obj: Object, old: Object | None) -> None:
    """Last changes and refusals that need more than the object itself."""
    if call.served.resource.group_resource == "services":
        service_ip.assign(api, call, obj, old)
    elif call.served.resource == CUSTOM_RESOURCE_DEFINITION:
        crd.settle(api, obj)
