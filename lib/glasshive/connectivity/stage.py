"""The stage of a connectivity test: a namespace of its own with pods on every node, responders on nodes and outside.

Everything is removed at the end, whatever happens in between. Should this process be killed, the responders end by
themselves, and the next test removes the namespace when it is an hour old.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from glasshive.api.resources import NAMESPACE, NODE
from glasshive.cluster import Cluster
from glasshive.connectivity import manifests, remote
from glasshive.connectivity.facts import gather
from glasshive.connectivity.policies import OPEN, PolicyRound
from glasshive.connectivity.scenarios import Places
from glasshive.connectivity.values import Facts, Place
from glasshive.errors import ApiError, ClusterError, DeadlineError, GlasshiveError
from glasshive.model.cluster import Completed

PREFIX = "glasshive-test-"
LIFETIME_SECONDS = 300
PODS_SECONDS = 60.0
RESPONDERS_SECONDS = 15.0
POLICY_SECONDS = 15.0
GONE_SECONDS = 40.0
STALE_SECONDS = 3600.0
WORLD = "world"


class Stage:
    """``with Stage(cluster) as stage``: places to probe between, and ``probe`` to do it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.namespace = PREFIX + secrets.token_hex(4)
        self.places = Places((), (), (), None)
        self.facts = Facts((), 0, frozenset())
        self._secret = secrets.token_hex(16)
        self._threads: dict[str, threading.Thread] = {}
        self._responders: list[Place] = []
        self._ended: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    # --- probing ---

    def probe(self, source: Place, probes: Sequence[Mapping[str, Any]], *, timeout: float = 90.0) -> list[Any]:
        """Send probes from one place, side by side; one answer for each."""
        try:
            done = self._run(source, json.dumps([dict(p) for p in probes]), timeout)
        except GlasshiveError as error:
            return [{"error": f"no command could be run at {source.name}: {error}"} for _ in probes]
        try:
            answers: list[Any] = json.loads(done.stdout)
        except ValueError:
            words = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
            return [{"error": f"the prober at {source.name} failed: {words[-1]}"} for _ in probes]
        return answers

    def _run(self, source: Place, stdin: str, timeout: float) -> Completed:
        program = remote.source("prober")
        if source.kind in {"node", WORLD}:
            argv = [sys.executable, "-I", "-S", "-c", program]
            return self.cluster.node_exec(source.name, argv, stdin=stdin, timeout=timeout)
        argv = ["python3", "-I", "-S", "-c", program]
        return self.cluster.exec(source.name, argv, self.namespace, stdin=stdin, timeout=timeout)

    # --- policies ---

    @contextlib.contextmanager
    def under(self, policies: PolicyRound | None) -> Iterator[None]:
        """Have policies in force for a while; DeadlineError if the endpoints are not under them in time."""
        if policies is None:
            yield
            return
        self.cluster.apply([dict(one) for one in policies.objects])
        try:
            self._wait_enforced(policies.wanted)
            yield
        finally:
            for one in policies.objects:
                self.cluster.delete(one["kind"], one["metadata"]["name"], namespace=self.namespace)
            self._wait_enforced(dict.fromkeys(policies.wanted, (OPEN, OPEN)))

    def _wait_enforced(self, wanted: Mapping[str, tuple[str, str]]) -> None:
        deadline = time.monotonic() + POLICY_SECONDS
        while missing := self._not_as_wanted(wanted):
            if time.monotonic() > deadline:
                raise DeadlineError(f"policies are not in force after {POLICY_SECONDS:g} s: {', '.join(missing)}")
            time.sleep(0.05)

    def _not_as_wanted(self, wanted: Mapping[str, tuple[str, str]]) -> list[str]:
        rows = [row for row in self.cluster.endpoints() if row["namespace"] == self.namespace]
        return [
            f"{row['pod']} ({row['policyIngress']}, {row['policyEgress']})"
            for row in rows
            for part, said in wanted.items()
            if row["pod"].startswith(f"{part}-") and (row["policyIngress"], row["policyEgress"]) != said
        ]

    # --- setting up ---

    def _set_up(self) -> None:
        self._remove_stale()
        nodes = self.cluster.api.list(NODE)[0]
        names = sorted((str(n["metadata"]["name"]) for n in nodes), key=lambda n: (len(n), n))
        if not names:
            raise ClusterError(f"cluster {self.cluster.name} has no nodes")
        port = 20000 + secrets.randbelow(8000)
        statuses = {name: self.cluster.backend.node_request(name, "GET", "/v1/status") for name in names}
        outside = self._world_addresses()
        node_places = tuple(self._node_place(node, statuses, port) for node in sorted(nodes, key=_by_name(names)))
        world = self._world_place(outside, port) if outside else None
        for place in (*node_places, *((world,) if world else ())):
            self._start_responder(place)
        self.cluster.apply(manifests.everything(self.namespace, names, self._secret))
        self.cluster.wait(
            "pod", condition="Ready", timeout=PODS_SECONDS, namespace=self.namespace, count=2 * len(names)
        )
        clients, echoes = self._pod_places(names)
        self.places = Places(clients, echoes, node_places, world)
        self.facts = gather(self.cluster, self.namespace, statuses, self.places)
        self._wait_responders()

    def _world_addresses(self) -> dict[str, str]:
        return {("ipv6" if ":" in a else "ipv4"): a for a in self.cluster.topology().world}

    def _node_place(self, node: Mapping[str, Any], statuses: Mapping[str, Any], port: int) -> Place:
        name = node["metadata"]["name"]
        internal = [a["address"] for a in node["status"].get("addresses") or () if a["type"] == "InternalIP"]
        addresses = {("ipv6" if ":" in a else "ipv4"): a for a in internal}
        also = tuple(str(a).partition("/")[0] for a in statuses[name].get("routers") or ())
        return Place("node", name, name, addresses, port, self._secret + name, also)

    def _world_place(self, addresses: dict[str, str], port: int) -> Place:
        from glasshive.cluster.embedded.addresses import WORLD as GATEWAY

        also = tuple(GATEWAY[family] for family in addresses)
        return Place(WORLD, WORLD, WORLD, addresses, port, self._secret + WORLD, also)

    def _pod_places(self, names: Sequence[str]) -> tuple[tuple[Place, ...], tuple[Place, ...]]:
        found = {pod.name: pod for pod in self.cluster.pods(self.namespace)}
        made: dict[str, list[Place]] = {"client": [], "echo": []}
        for kind, places in made.items():
            for node in names:
                pod = found[f"{kind}-{node}"]
                addresses = {("ipv6" if ":" in a else "ipv4"): a for a in pod.addresses}
                places.append(Place(kind, pod.name, node, addresses, manifests.PORT, self._secret + pod.name))
        return tuple(made["client"]), tuple(made["echo"])

    # --- responders outside pods ---

    def _start_responder(self, place: Place) -> None:
        settings = manifests.settings(place.secret, place.name, place.port, list(place.addresses.values()))
        argv = [sys.executable, "-I", "-S", "-c", remote.source("responder"), settings]

        def work() -> None:
            try:
                done = self.cluster.node_exec(place.name, argv, timeout=LIFETIME_SECONDS + 30)
                self._ended[place.name] = done.stderr.strip()
            except GlasshiveError as error:
                self._ended[place.name] = str(error)

        thread = threading.Thread(target=work, name=f"responder-{place.name}", daemon=True)
        self._threads[place.name] = thread
        self._responders.append(place)
        thread.start()

    def _wait_responders(self) -> None:
        """Wait until the responders answer where they are; raise DeadlineError if one does not."""
        deadline = time.monotonic() + RESPONDERS_SECONDS
        waiting = [p for p in self.places.all() if p.kind in {"node", WORLD}]
        while waiting:
            left = []
            for place in waiting:
                if place.name in self._ended:
                    raise ClusterError(f"the responder at {place.name} ended: {self._ended[place.name]}")
                probes = [_knock(place, address) for address in place.addresses.values()]
                if any(answer.get("error") for answer in self.probe(place, probes, timeout=20)):
                    left.append(place)
            waiting = left
            if waiting and time.monotonic() > deadline:
                names = ", ".join(place.name for place in waiting)
                raise DeadlineError(f"after {RESPONDERS_SECONDS:g} s no responder answers at {names}")

    def _stop_responders(self) -> None:
        """Tell those that were started, also if setting up got no further; one may not even listen yet."""
        deadline = time.monotonic() + RESPONDERS_SECONDS
        while (left := [p for p in self._responders if self._threads[p.name].is_alive()]) and (
            time.monotonic() < deadline
        ):
            for place in left:
                address = next(iter(place.addresses.values()))
                stop = json.dumps({"stop": place.secret, "address": address, "port": place.port})
                argv = [sys.executable, "-I", "-S", "-c", _STOP, stop]
                with contextlib.suppress(GlasshiveError):  # it ends with its lifetime
                    self.cluster.node_exec(place.name, argv, timeout=10)
                self._threads[place.name].join(0.5)

    # --- removing ---

    def remove(self) -> None:
        """Remove everything, in any state; wait until it is gone."""
        self._stop_responders()
        try:
            self.cluster.delete("namespace", self.namespace)
            self.cluster.wait("namespace", self.namespace, "deleted", GONE_SECONDS, namespace=None)
        except ApiError as error:
            if error.code != 404:
                raise

    def _remove_stale(self) -> None:
        """Remove what a killed test left behind long ago."""
        now = datetime.now(UTC)
        for found in self.cluster.api.list(NAMESPACE, selector=manifests.SELECTOR)[0]:
            born = datetime.fromisoformat(found["metadata"]["creationTimestamp"])
            if (now - born).total_seconds() > STALE_SECONDS and not found["metadata"].get("deletionTimestamp"):
                self.cluster.delete("namespace", found["metadata"]["name"])


_STOP = """
import json, socket, sys
s = json.loads(sys.argv[1])
with socket.create_connection((s["address"], s["port"]), 5) as sock:
    sock.sendall(json.dumps({"stop": s["stop"]}).encode() + b"\\n")
    sock.recv(1)
"""


def _knock(place: Place, address: str) -> dict[str, Any]:
    return {"kind": "tcp", "address": address, "port": place.port, "token": secrets.token_hex(16)}


def _by_name(names: Sequence[str]) -> Any:
    return lambda node: names.index(node["metadata"]["name"])
