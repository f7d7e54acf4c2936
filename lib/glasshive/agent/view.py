"""The cluster as this node sees it: Nodes, Namespaces and Pods, followed, each change told to whoever asked.

Objects are turned into facts here, once; subscribers get facts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from glasshive.agent.facts import node_facts, pod_facts, pod_labels, pod_ref
from glasshive.api.resources import NAMESPACE, NODE, POD
from glasshive.identity.labels import LabelFilter
from glasshive.kube.client import Client
from glasshive.kube.informer import Informer
from glasshive.kube.objects import Object, labels_of
from glasshive.model.endpoint import PodRef
from glasshive.model.labels import Labels
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts

NodeHandler = Callable[[str, NodeFacts | None], None]
"""(name, facts); None when the node has gone."""
PodHandler = Callable[[PodRef, PodFacts | None], None]
"""(reference, facts); None when the pod has gone. Called again when its namespace's labels change."""

NamespaceHandler = Callable[[str, Mapping[str, str] | None], None]
"""(name, labels); None when the namespace has gone."""

_BY_NAMESPACE = "namespace"


class ClusterView:
    """Informers of the kinds that every node follows."""

    def __init__(self, client: Client, cluster: str, labels: Iterable[str] = ()) -> None:
        self._cluster = cluster
        self._filter = LabelFilter(labels)
        self._node_handlers: list[NodeHandler] = []
        self._pod_handlers: list[PodHandler] = []
        self._namespace_handlers: list[NamespaceHandler] = []
        self._nodes: dict[str, NodeFacts] = {}
        self._informers = (
            Informer(client, NAMESPACE, self._on_namespace),
            Informer(client, NODE, self._on_node),
            Informer(
                client, POD, self._on_pod, indexers={_BY_NAMESPACE: lambda pod: [pod["metadata"].get("namespace", "")]}
            ),
        )
        self._namespaces, _, self._pods = self._informers

    def on_node(self, handler: NodeHandler) -> None:
        """Call ``handler`` for every node, known ones first."""
        for name, facts in self._nodes.items():
            handler(name, facts)
        self._node_handlers.append(handler)

    def on_pod(self, handler: PodHandler) -> None:
        """Call ``handler`` for every pod of the cluster, from now on."""
        self._pod_handlers.append(handler)

    def on_namespace(self, handler: NamespaceHandler) -> None:
        """Call ``handler`` for every namespace, from now on, before its pods follow its labels."""
        self._namespace_handlers.append(handler)

    async def start(self) -> None:
        """Begin to follow. Namespaces come first: pods' identities depend on their labels."""
        self._namespaces.start()
        for informer in self._informers[1:]:
            informer.start()

    async def wait_synced(self, seconds: float) -> None:
        """Wait until everything that exists is known; DeadlineError."""
        await asyncio.gather(*(informer.wait_synced(seconds) for informer in self._informers))

    async def stop(self) -> None:
        """Stop following."""
        await asyncio.gather(*(informer.stop() for informer in self._informers))

    @property
    def synced(self) -> bool:
        """Whether everything that exists is known."""
        return all(informer.synced for informer in self._informers)

    @property
    def last_error(self) -> str:
        """Why the API could not be followed, the last time that happened; "" while all is well."""
        return next((str(one.last_error) for one in self._informers if one.last_error), "")

    def nodes(self) -> list[NodeFacts]:
        """All nodes."""
        return list(self._nodes.values())

    def labels_of_pod(self, ref: PodRef) -> Labels | None:
        """Identity-relevant labels of a pod, None when it (or the same name's uid) is not known yet."""
        pod = self._pods.get(ref.name, ref.namespace)
        if pod is None or (ref.uid and pod_ref(pod).uid != ref.uid):
            return None
        return self.labels_of_object(pod)

    def pod(self, namespace: str, name: str) -> PodFacts | None:
        """A pod's facts, None when it is not known."""
        obj = self._pods.get(name, namespace)
        return pod_facts(obj, self._namespace_labels(obj), self._cluster, self._filter) if obj is not None else None

    def labels_of_object(self, pod: Object) -> Labels:
        """Identity-relevant labels of a Pod object."""
        return pod_labels(pod, self._namespace_labels(pod), self._cluster, self._filter)

    def pod_count(self) -> int:
        """How many pods are known."""
        return len(self._pods.values())

    # -- events

    def _on_namespace(self, _: str, old: Object | None, new: Object | None) -> None:
        if new is not None and old is not None and labels_of(old) == labels_of(new):
            return
        for handler in self._namespace_handlers:
            handler((new or old or {})["metadata"]["name"], labels_of(new) if new is not None else None)
        if new is None:
            return
        for pod in self._pods.by_index(_BY_NAMESPACE, new["metadata"]["name"]):
            self._tell_pod(pod)

    def _on_node(self, _: str, old: Object | None, new: Object | None) -> None:
        if new is None:
            name = (old or {})["metadata"]["name"]
            if self._nodes.pop(name, None) is not None:
                for handler in self._node_handlers:
                    handler(name, None)
            return
        facts = node_facts(new)
        if self._nodes.get(facts.name) == facts:
            return  # a heartbeat
        self._nodes[facts.name] = facts
        for handler in self._node_handlers:
            handler(facts.name, facts)

    def _on_pod(self, _: str, old: Object | None, new: Object | None) -> None:
        if new is not None:
            if old is not None and pod_ref(old) != pod_ref(new):
                self._tell_gone(old)
            self._tell_pod(new)
        elif old is not None:
            self._tell_gone(old)

    def _tell_pod(self, pod: Object) -> None:
        facts = pod_facts(pod, self._namespace_labels(pod), self._cluster, self._filter)
        for handler in self._pod_handlers:
            handler(facts.ref, facts)

    def _tell_gone(self, pod: Object) -> None:
        ref = pod_ref(pod)
        for handler in self._pod_handlers:
            handler(ref, None)

    def _namespace_labels(self, pod: Object) -> dict[str, str]:
        namespace = self._namespaces.get(pod["metadata"].get("namespace") or "default")
        return labels_of(namespace) if namespace else {}
