"""Would this connection pass? From objects alone: those of a cluster, those of files, or both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from glasshive.agent.facts import named_ports, pod_labels
from glasshive.agent.policy import settings
from glasshive.agent.service_identities import API_NAMESPACE, API_SERVICE, DNS_LABELS, DNS_NAMESPACE, addresses_of
from glasshive.api import policies
from glasshive.api.policy_lookups import of_objects
from glasshive.api.policy_reading import Options
from glasshive.api.policy_schema import near_names
from glasshive.cluster import manifests
from glasshive.cluster.policy_flows import PROTOCOLS, packet_of
from glasshive.errors import NotFoundError, UsageError
from glasshive.kube.objects import labels_of
from glasshive.model.address import Prefix
from glasshive.model.labels import SOURCE_K8S, SOURCE_RESERVED, Label, Labels
from glasshive.model.policy import PolicyObject, SubjectKind
from glasshive.policy.ports import NamedPort
from glasshive.policy.resolve import Settings
from glasshive.policy.trace import Party, Trace, trace

Object = dict[str, Any]
_TEMPLATES = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job")
_CLUSTER_WIDE = frozenset({
    "Namespace", "Node", "CiliumCIDRGroup", "CiliumClusterwideNetworkPolicy", "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy",
})  # fmt: skip


class Scene:
    """Objects, and the parties among them. ``cluster`` names the cluster in labels.

    ``files`` are objects with the names of their files, as if they were applied; answers name the file of a rule.
    """

    def __init__(
        self, objects: Iterable[Object], cluster: str = "default", files: Iterable[tuple[Object, str]] = ()
    ) -> None:
        written = list(files)
        self._objects = applied(objects, [one for one, _ in written])
        self._files = {_name_of(one): file for one, file in written}
        self._cluster = cluster
        self._nodes: dict[str, str] = {}
        """On which node the parties are."""
        self._namespaces = {
            one["metadata"]["name"]: labels_of(one) for one in self._objects if one.get("kind") == "Namespace"
        }

    @property
    def objects(self) -> list[Object]:
        """All objects: those of files in the place of others of the same name."""
        return self._objects

    def policies(self) -> list[PolicyObject]:
        """Every policy among the objects; UsageError for one of a file that makes no sense.

        One that the cluster holds (it has a uid) is left out then, as its agents leave it out. The earlier, valid form
        of it that they may still enforce is not in the objects: ``policy explain`` tells what the kernels do.
        """
        lookups, options = of_objects(self._objects), Options(cluster=self._cluster)
        kinds = {(kind.resource.api_version, kind.resource.kind) for kind in policies.KINDS.values()}
        found = []
        for one in self._objects:
            if (one.get("apiVersion"), one.get("kind")) not in kinds:
                continue
            parsed = policies.parse(one, lookups, options, file=self._files.get(_name_of(one), ""))
            if not parsed.valid and one["metadata"].get("uid"):
                continue
            if not parsed.valid:
                first = next(finding for finding in parsed.policy.findings if finding.severity == "error")
                raise UsageError(f"{parsed.policy.ref}: {first.path}: {first.message}")
            found.append(parsed.policy)
        return found

    def party(self, name: str) -> Party:
        """The party of a name: an address, ``node/NAME``, ``[namespace/]pod``, or ``[namespace:]key=value,...``."""
        if "=" in name:
            return self._by_labels(name)
        if name.startswith("node/"):
            return self._node(name)
        try:
            return self._by_address(Prefix.parse(name))
        except UsageError:
            return self._pod(name)

    def seen_by(self, node: Party, other: Party) -> Party:
        """A node as the other side sees it: ``host`` to its own pods, ``remote-node`` to everybody else."""
        if node.kind is not SubjectKind.NODE or f"node/{self._nodes.get(other.name)}" != node.name:
            return node
        return replace(node, peer_labels=Labels.of([Label(SOURCE_RESERVED, "host")]))

    def _by_labels(self, text: str) -> Party:
        namespace, colon, rest = text.partition(":")
        if not colon:
            namespace, rest = "default", text
        pairs = dict(part.partition("=")[::2] for part in rest.split(","))
        pod = {"metadata": {"name": text, "namespace": namespace, "labels": pairs}}
        return Party(text, self._labels(pod))

    def _by_address(self, prefix: Prefix) -> Party:
        for one in self._objects:
            status = one.get("status") or {}
            if one.get("kind") == "Pod" and not (one.get("spec") or {}).get("hostNetwork"):
                if any(Prefix.parse(ip["ip"]) == prefix for ip in status.get("podIPs") or ()):
                    return self._of_pod(one)
            elif one.get("kind") == "Node" and prefix in _node_addresses(one):
                return self._of_node(one)
            elif one.get("kind") == "Service" and prefix in [Prefix.host(address) for address in addresses_of(one)]:
                return self._of_service(one, prefix)
        return Party(str(prefix).removesuffix("/32").removesuffix("/128"), addresses=(prefix,), kind=None)

    def _of_service(self, service: Object, prefix: Prefix) -> Party:
        """An address of a Service. Two Services have an identity of their own; others are an address as any other."""
        meta = service["metadata"]
        place = meta.get("namespace") or "default", meta["name"]
        name = str(prefix).removesuffix("/32").removesuffix("/128")
        seen = Labels.of([])
        if place == (DNS_NAMESPACE, "kube-dns"):
            seen = self._labels({"metadata": {"name": place[1], "namespace": place[0], "labels": DNS_LABELS}})
        elif place == (API_NAMESPACE, API_SERVICE):
            seen = Labels.of([Label(SOURCE_RESERVED, one) for one in ("kube-apiserver", "remote-node")])
        told = f"{name} ({'/'.join(place)})" if len(seen) else name
        return Party(told, addresses=(prefix,), kind=None, peer_labels=seen)

    def _node(self, name: str) -> Party:
        for one in self._objects:
            if one.get("kind") == "Node" and one["metadata"]["name"] == name.removeprefix("node/"):
                return self._of_node(one)
        raise NotFoundError(f"there is no {name}")

    def _of_node(self, node: Object) -> Party:
        labels = [Label(SOURCE_K8S, key, value) for key, value in labels_of(node).items()]
        return Party(
            f"node/{node['metadata']['name']}",
            Labels.of([Label(SOURCE_RESERVED, "host"), *labels]),
            tuple(_node_addresses(node)),
            kind=SubjectKind.NODE,
            peer_labels=Labels.of([Label(SOURCE_RESERVED, "remote-node")]),
        )

    def _pod(self, name: str) -> Party:
        namespace, slash, rest = name.partition("/")
        wanted = (namespace, rest) if slash else ("default", name)
        for one in self._objects:
            meta = one.get("metadata") or {}
            if (meta.get("namespace") or "default", meta.get("name")) != wanted:
                continue
            if one.get("kind") == "Pod":
                return self._of_pod(one)
            if one.get("kind") in _TEMPLATES:
                template = one["spec"]["template"]
                meta = {**(template.get("metadata") or {}), "name": wanted[1], "namespace": wanted[0]}
                return self._of_pod({**template, "metadata": meta})
        raise NotFoundError(f"{name} is no pod and no workload here", hint=self._hint(wanted))

    def _hint(self, wanted: tuple[str, str]) -> str:
        metas = (one.get("metadata") or {} for one in self._objects if one.get("kind") in ("Pod", *_TEMPLATES))
        known = {(str(meta.get("name")), meta.get("namespace") or "default") for meta in metas}
        near = near_names(wanted[1], {name for name, _ in known})
        if near:
            return f"did you mean {' or '.join(f'{where}/{name}' for name, where in sorted(known) if name in near)}?"
        return "name a pod, an address, node/NAME, or labels: namespace:app=web,tier=front"

    def _of_pod(self, pod: Object) -> Party:
        meta, status = pod["metadata"], pod.get("status") or {}
        addresses = tuple(Prefix.parse(one["ip"]) for one in status.get("podIPs") or ())
        names = frozenset(NamedPort(*one) for one in named_ports(pod.get("spec") or {}))
        name = f"{meta.get('namespace') or 'default'}/{meta['name']}"
        self._nodes[name] = (pod.get("spec") or {}).get("nodeName") or ""
        return Party(name, self._labels(pod), addresses, names)

    def _labels(self, pod: Object) -> Labels:
        namespace = pod["metadata"].get("namespace") or "default"
        known = self._namespaces.get(namespace, {"kubernetes.io/metadata.name": namespace})
        return pod_labels(pod, known, self._cluster)


def traced(scene: Scene, source: str, destination: str, packet: str, told: Settings | None = None) -> Trace:
    """What the scene's policies say of a connection: ``packet`` is ``8080/TCP``."""
    protocol, port = packet_of(packet)
    if port is None and not protocol.startswith("ICMP"):
        raise UsageError(f"{packet!r} has no port", hint=f"write 8080/{protocol}")
    one, other = scene.party(source), scene.party(destination)
    one, other = scene.seen_by(one, other), scene.seen_by(other, one)
    return trace(scene.policies(), one, other, (PROTOCOLS[protocol], port or 0), told)


def settings_of(mode: str, allow_localhost: str, objects: Iterable[Object]) -> Settings:
    """Settings of a cluster, with what its ConfigMap says over them."""
    base = settings.PolicySettings(settings.mode_of(mode))
    for one in objects:
        meta = one.get("metadata") or {}
        if one.get("kind") == "ConfigMap" and meta.get("name") == settings.CONFIG_NAME:
            base = settings.merged(base, one.get("data") or {}, settings.MODE_KEY, settings.AUDIT_KEY)
    return Settings(mode=base.mode, allow_localhost=allow_localhost != "policy")


def kinds() -> Sequence[Any]:
    """Resources that a trace in a cluster reads."""
    from glasshive.agent.policy.sources import policy_resources
    from glasshive.api import resources as r
    from glasshive.api.cidr_group import CILIUM_CIDR_GROUP

    workloads = [one for one in r.BUILTIN if one.kind in _TEMPLATES]
    return [
        r.CONFIG_MAP, r.NAMESPACE, r.NODE, r.POD, r.SERVICE, r.ENDPOINT_SLICE, *workloads, CILIUM_CIDR_GROUP,
        *policy_resources(),
    ]  # fmt: skip


def of_files(files: Iterable[str]) -> list[tuple[Object, str]]:
    """The objects of files, each with its file's name; ManifestError."""
    return [(one, file) for file in files for one in manifests.load(Path(file))]


def applied(objects: Iterable[Object], files: Iterable[Object]) -> list[Object]:
    """Objects after those of files were applied: an object of the same kind and name takes the other's place."""
    found = {_name_of(one): one for one in objects}
    found.update({_name_of(one): one for one in files})
    return list(found.values())


def _name_of(one: Object) -> tuple[str, str, str, str]:
    group = one.get("apiVersion", "").rpartition("/")[0]
    kind, meta = one.get("kind", ""), one.get("metadata") or {}
    namespace = "" if kind in _CLUSTER_WIDE else meta.get("namespace") or "default"
    return group, kind, namespace, meta.get("name", "")


def _node_addresses(node: Object) -> list[Prefix]:
    listed = (node.get("status") or {}).get("addresses") or ()
    return [Prefix.parse(one["address"]) for one in listed if one.get("type") == "InternalIP"]
