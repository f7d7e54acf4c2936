"""Feature "service_identities": who answers at the addresses of two services that every cluster has.

The cluster's name service is answered by each node itself; its address stands for the pods that usually do it, so that
the rules people write for it (``k8s-app: kube-dns`` in ``kube-system``) fit. The addresses of the Kubernetes API stand
for ``kube-apiserver``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from glasshive.agent.node_network import NodeNetwork
from glasshive.agent.pod_identities import PodIdentities
from glasshive.agent.view import ClusterView
from glasshive.api.resources import ENDPOINT_SLICE, POD, SERVICE
from glasshive.errors import UsageError
from glasshive.kube.client import Client
from glasshive.kube.informer import Informer
from glasshive.kube.objects import Object
from glasshive.model.address import Address, parse, render

DNS_NAMESPACE, DNS_LABELS = "kube-system", {"k8s-app": "kube-dns"}
API_NAMESPACE, API_SERVICE = "default", "kubernetes"


class ServiceIdentities:
    """Follows the two Services and the namespace ``kube-system``."""

    def __init__(self, client: Client, datapath: NodeNetwork, view: ClusterView, identities: PodIdentities) -> None:
        self._datapath = datapath
        self._view = view
        self._identities = identities
        self._dns = tuple(parse(text) for text in datapath.config.host_services)
        self._informers = (
            Informer(client, SERVICE, self._on_api, namespace=API_NAMESPACE,
                     field_selector=f"metadata.name={API_SERVICE}"),
            Informer(client, ENDPOINT_SLICE, self._on_api, namespace=API_NAMESPACE,
                     label_selector=f"kubernetes.io/service-name={API_SERVICE}"),
        )  # fmt: skip
        self._api: tuple[Address, ...] = ()

    async def start(self) -> None:
        """Begin to follow."""
        if self._dns:
            self._view.on_namespace(self._on_namespace)
        for informer in self._informers:
            informer.start()

    async def stop(self) -> None:
        """Stop following; entries stay."""
        await asyncio.gather(*(informer.stop() for informer in self._informers))

    def status(self) -> dict[str, Any]:
        """The addresses."""
        return {"dns": [render(one) for one in self._dns], "kubeApiserver": [render(one) for one in self._api]}

    def _on_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        if name == DNS_NAMESPACE and labels is not None:
            stand_in = POD.object("kube-dns", DNS_NAMESPACE, metadata={"labels": DNS_LABELS})
            self._identities.set_services(self._view.labels_of_object(stand_in), self._dns)

    def _on_api(self, _: str, __: Object | None, ___: Object | None) -> None:
        found = {address for informer in self._informers for obj in informer.values() for address in addresses_of(obj)}
        self._api = tuple(sorted(found))
        number = self._datapath.reserved.number("kube-apiserver")
        self._datapath.ipcache.set_apiserver(self._api, number)


def addresses_of(obj: Object) -> list[Address]:
    """Cluster addresses of a Service, or those of an EndpointSlice; texts that are no addresses are left out."""
    spec = obj.get("spec") or {}
    texts = list(spec.get("clusterIPs") or [spec.get("clusterIP")])
    texts += [text for one in obj.get("endpoints") or () for text in one.get("addresses") or ()]
    found = []
    for text in texts:
        try:
            found.append(parse(text or "None"))
        except UsageError:
            continue  # headless ("None"), or a name
    return found
