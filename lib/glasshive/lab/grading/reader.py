"""What a check sees of a cluster: everything, and it can change nothing.

Maps are opened read-only (the kernel refuses writes through such a descriptor), the Kubernetes API and the agents are
only asked with GET, and the one thing that acts, a probe, is a command that runs inside a pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glasshive.bpf import Map, inspect
from glasshive.cluster import Cluster, views
from glasshive.cluster.api_client import ApiClient
from glasshive.errors import ApiError, NotFoundError, UsageError
from glasshive.maps.render import rows_of
from glasshive.model.cluster import Completed, NodeStatus, PodStatus, ProcessStatus

Row = dict[str, Any]
_PINS = Path("/sys/fs/bpf/glasshive")


class ReadOnlyApi(ApiClient):
    """A client of the Kubernetes API that only asks."""

    def request(self, method: str, path: str, **options: Any) -> Any:
        """One exchange; anything but GET is refused here."""
        if method != "GET":
            raise UsageError(f"a check wanted to {method} {path}: checks only read")
        return super().request(method, path, **options)


class ClusterReader:
    """Reads one cluster for the checks of one lab, whose pods live in ``namespace``. Nothing that was read is kept."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.namespace = namespace
        self.cluster_name = cluster.name
        self.config = cluster.config
        self._backend = cluster.backend
        self._api = ReadOnlyApi(cluster.backend.api())
        self._maps: dict[Path, tuple[int, Map]] = {}

    # --- objects ---

    def get(self, kind: str, name: str, namespace: str = "") -> Row | None:
        """One object of the Kubernetes API (of the lab's namespace, if no other is named), None if there is none."""
        try:
            return self._api.get(self._api.resource(kind), name, namespace or self.namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def objects(self, kind: str, namespace: str | None = "", *, selector: str = "") -> list[Row]:
        """Objects of a kind; ``namespace=None`` for those of all namespaces, or of none."""
        where = self.namespace if namespace == "" else namespace
        return self._api.list(self._api.resource(kind), where, selector=selector)[0]

    def pods(self, *, everywhere: bool = False) -> list[PodStatus]:
        """The lab's pods in short, or all pods."""
        return [views.pod_status(one) for one in self.objects("pod", None if everywhere else "")]

    def pod(self, name: str) -> PodStatus | None:
        """One of the lab's pods in short, None if there is none of that name."""
        found = self.get("pod", name)
        return views.pod_status(found) if found else None

    def address(self, pod: str, family: str = "ipv4") -> str:
        """A pod's address of one family. NotFoundError while it has none."""
        found = self.pod(pod)
        for one in found.addresses if found else ():
            if (":" in one) == (family == "ipv6"):
                return one
        raise NotFoundError(f"pod {pod!r} has no {family} address")

    def nodes(self) -> list[NodeStatus]:
        """The cluster's nodes in short, in order."""
        pods = self.pods(everywhere=True)
        return sorted((views.node_status(one, pods) for one in self.objects("node", None)), key=views.natural_order)

    def processes(self) -> dict[str, ProcessStatus]:
        """The cluster's components by name."""
        return {one.name: one for one in self._backend.status().processes}

    # --- a node's kernel ---

    def rows(self, node: str, name: str, **where: object) -> list[Row]:
        """Rows of a node's BPF map that have these values in these columns, read through a read-only descriptor."""
        found = rows_of(self._map(node, name))
        return [row for row in found if all(str(row.get(key)) == str(value) for key, value in where.items())]

    def map_facts(self, node: str, name: str) -> Row:
        """``{id, entries, max_entries}`` of a node's BPF map."""
        kernel = self._map(node, name)
        return {"id": kernel.id, "entries": len(kernel.items()[0]), "max_entries": kernel.max_entries}

    def _map(self, node: str, name: str) -> Map:
        """A node's map, read-only. Kept open, as reading its types costs 25 ms; a pin that was made anew is noticed."""
        pin = self.pins(node) / "maps" / name
        inode = pin.stat().st_ino if pin.exists() else 0
        held = self._maps.get(pin)
        if held is None or held[0] != inode:
            held = self._maps[pin] = inode, Map.open(pin, read_only=True)
        return held[1]

    def links(self, node: str) -> list[Row]:
        """Links that hold programs on a node: ``pin id type attach_type program program_id ifindex``."""
        programs = {one.id: one.name for one in inspect.programs()}
        links = {one.id: one for one in inspect.links()}
        return [
            {"pin": pin.path.name, **links[pin.id]._asdict(), "program": programs.get(links[pin.id].program_id, "")}
            for pin in inspect.pins(self.pins(node) / "links")
            if pin.id in links
        ]

    def survey(self, node: str, what: str) -> list[Row]:
        """Rows of a node's ``devices``, ``routes`` or ``neighbours``; ``world`` is the place outside."""
        return self._backend.node_survey(node, what)

    def pins(self, node: str) -> Path:
        """Folder of a node's pins: ``maps``, ``links``, ``progs`` lie below."""
        return _PINS / self.cluster_name / node

    # --- a node's agent ---

    def ask(self, node: str, path: str) -> Any:
        """What a node's agent answers to a GET: /v1/status, /v1/endpoints, /v1/identities, /v1/drops ..."""
        return self._backend.node_request(node, "GET", path)

    def endpoint(self, pod: str) -> Row:
        """What the agent of its node knows about a pod of the lab. NotFoundError."""
        found = self.pod(pod)
        for row in self.ask(found.node, "/v1/endpoints") if found and found.node else ():
            if (row["namespace"], row["pod"]) == (self.namespace, pod):
                return dict(row)
        raise NotFoundError(f"no agent has an endpoint for pod {pod!r}")

    def drop_records(self, node: str) -> list[Row]:
        """The last packets that a node dropped: ``timeNs`` (CLOCK_MONOTONIC), ``reason``, ``source`` and so on."""
        return list(self.ask(node, "/v1/drop-records")["records"])

    # --- the one thing that acts ---

    def exec(self, pod: str, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 8.0) -> Completed:
        """Run a command in a pod of the lab, as the kubelet would: for probes."""
        found = self.pod(pod)
        if found is None or not found.node:
            raise NotFoundError(f"pod {pod!r} runs nowhere")
        body: Mapping[str, Any] = {
            "namespace": self.namespace, "pod": pod, "argv": list(argv), "stdin": stdin, "timeout": timeout_s,
        }  # fmt: skip
        done = self._backend.node_request(found.node, "POST", "/v1/exec", body, timeout=timeout_s + 2)
        return Completed(int(done["returncode"]), str(done["stdout"]), str(done["stderr"]))
