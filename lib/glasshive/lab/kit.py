"""What a lab notebook talks to: one object that has the cluster, shows the kernel's state, asks and checks.

It holds nothing that a restart of the notebook's kernel would lose: run the first cell again and go on.
"""

from __future__ import annotations

import importlib
import os
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glasshive.bpf import probe
from glasshive.cluster import Cluster, connect
from glasshive.errors import CapabilityError, GlasshiveError, NotFoundError, UsageError
from glasshive.lab import components
from glasshive.lab.manifest import LabEntry, find_lab
from glasshive.lab.sources import drop_counts, last_drop_record, snapshot
from glasshive.lab.words import drop_reason
from glasshive.model.check_result import CheckResult, Verdict
from glasshive.model.traffic import DropCount

if TYPE_CHECKING:
    from glasshive.lab.programs import TeachingProgram
    from glasshive.widgets import DropsChart, MapTable, Question, TopologyView

CHECK_SECONDS = 10.0
_POLL_S = 0.2

Check = Callable[["Lab"], CheckResult]
Fault = Callable[["Lab"], str]
"""Breaks something and says what the learner is told of it."""


class Lab:
    """A lab that has been prepared. Its pods live in a namespace of their own, ``lab-00`` and so on."""

    def __init__(self, entry: LabEntry, cluster: Cluster, machine: probe.Machine) -> None:
        self.entry = entry
        self.cluster = cluster
        self.namespace = f"lab-{entry.id}"
        self.without = tuple(machine.missing(entry.better))
        self._drops_before: list[DropCount] = []
        self._restarts_before: dict[str, int] = {}
        self._views: list[Any] = []

    @classmethod
    def open(cls, wanted: str, *, cluster: str = "") -> Lab:
        """Prepare a lab; see ``glasshive.lab``. Raises CapabilityError when this machine lacks something it needs."""
        entry = find_lab(wanted)
        probe.require(*entry.needs, what=f"lab {entry.id}")
        name = cluster or os.environ.get("GLASSHIVE_CLUSTER", "lab")
        lab = cls(entry, _cluster(name, entry.nodes), probe.machine())
        components.start_all(lab.cluster)  # what a lab that was left in the middle had stopped
        lab._restarts_before = {one.name: one.restarts for one in components.processes(lab.cluster).values()}
        lab.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": lab.namespace}})
        lab.mark_drops()
        return lab

    def __repr__(self) -> str:
        entry = self.entry
        without = f"does without {', '.join(self.without)}" if self.without else "has all it can use"
        config = self.cluster.config
        lines = [
            f"Lab {entry.id}: {entry.title} ({entry.minutes} minutes)",
            textwrap.fill(f"goal: {entry.goal}", 90, initial_indent="  ", subsequent_indent="    "),
            f"  this machine: {without}",
            f"  {config.nodes} nodes, {config.routing} routing, namespace {self.namespace}",
        ]
        return "\n".join(lines)

    # --- pods ---

    def run(self, *manifests: str | Mapping[str, Any], wait_s: float = 30.0) -> list[str]:
        """Apply manifests in the lab's namespace and wait until what they make is ready; gives what it made."""
        made = []
        for manifest in manifests:
            # An object is passed on as YAML text would be: the cluster reads both.
            source: Any = dict(manifest) if isinstance(manifest, Mapping) else manifest
            applied = self.cluster.apply(source, namespace=self.namespace)
            self.cluster.wait_applied(applied, timeout=wait_s)
            made += [f"{one['kind']} {one['metadata']['name']}: ready" for one in applied]
        return made

    def pod(self, name: str, *, node: str = "", image: str = "glasshive/echo", wait_s: float = 30.0) -> Any:
        """Make one pod (if it is not there yet), wait until it is ready, and give its status in short.

        With ``wait_s=0`` nothing is waited for.
        """
        spec: dict[str, Any] = {"containers": [{"name": "main", "image": image}]}
        if node:
            spec["nodeName"] = node
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}
        if not any(one.name == name for one in self.cluster.pods(self.namespace)):
            self.cluster.apply(body, namespace=self.namespace)
        if wait_s:
            self.cluster.wait("pod", name, timeout=wait_s, namespace=self.namespace)
        return self.status(name)

    def status(self, name: str) -> Any:
        """Give a pod of this lab in short: node, addresses, state."""
        for one in self.cluster.pods(self.namespace):
            if one.name == name:
                return one
        raise NotFoundError(f"lab {self.entry.id} has no pod {name!r}", hint="run the cell that makes it")

    def address(self, name: str, family: str = "ipv4") -> str:
        """Give a pod's address of one family."""
        wanted = [one for one in self.status(name).addresses if (":" in one) == (family == "ipv6")]
        if not wanted:
            raise NotFoundError(f"pod {name!r} has no {family} address yet")
        return str(wanted[0])

    def free_address(self, node: str) -> str:
        """Give an IPv4 address of a node's pod range that no pod has: the last usable one that is free."""
        import ipaddress

        topology = self.cluster.topology()
        cidrs = [cidr for one in topology.nodes if one.name == node for cidr in one.pod_cidrs if "." in cidr]
        if not cidrs:
            raise NotFoundError(f"node {node!r} has no IPv4 pod range", hint="is there a node of that name?")
        taken = {address for pod in topology.pods for address in pod.addresses}
        hosts = ipaddress.IPv4Network(cidrs[0])
        return next(str(one) for one in reversed(list(hosts.hosts())) if str(one) not in taken)

    def exec(self, pod: str, command: str | Sequence[str], *, timeout_s: float = 20.0) -> str:
        """Run a command in a pod and give what it printed, errors included. Works without the control plane."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        return components.run_in_pod(self.cluster, self.namespace, pod, argv, timeout_s)[1]

    def ping(self, pod: str, address: str, *, count: int = 3) -> str:
        """Ping from a pod; gives the last word of ping: how many answers came."""
        command = ["ping", "-c", str(count), "-i", "0.2", "-W", "1", address]
        lines = self.exec(pod, command, timeout_s=5.0 + 2 * count).splitlines()
        told = [line for line in lines if "packets transmitted" in line]
        return told[0].split(", time")[0] if told else "no answer from ping: " + " ".join(lines[-1:])

    def kubectl(self, *argv: str) -> str:
        """Run kubectl in this lab's namespace; gives what it printed, or the last line of its complaint."""
        return components.kubectl(self.cluster, self.namespace, *argv)[1]

    # --- components: who does what ---

    def components(self, *names: str) -> MapTable:
        """Show the cluster's components (or those named): state, and restarts since the lab was opened."""
        from glasshive.widgets import MapTable

        view = MapTable("components", components.rows(self.cluster, self._restarts_before, names))
        self._views.append(view)
        return view

    def stop(self, *names: str) -> str:
        """Kill components and keep them from being restarted."""
        for name in names:
            self.cluster.stop(name, kill=True)
        return f"killed, and kept down: {', '.join(names)}"

    def start(self, *names: str) -> str:
        """Start components that were stopped; gives which are ready now."""
        for name in names:
            self.cluster.start(name)
        return f"ready: {', '.join(names)}"

    def crash(self, name: str) -> str:
        """Kill a component as a crash would, and wait for its successor."""
        return components.crash(self.cluster, name)

    def abilities(self, client: str, server: str) -> MapTable:
        """Try what people want of a cluster: reach a pod by address and by name, and talk to the API."""
        from glasshive.widgets import MapTable

        view = MapTable("what works", components.abilities(self.cluster, self.namespace, client, server))
        self._views.append(view)
        return view

    def fault(self, name: str) -> str:
        """Break something of this lab, for the learner to find."""
        faults: dict[str, Fault] = self._beside("FAULTS")
        if name not in faults:
            raise NotFoundError(f"lab {self.entry.id} has no fault {name!r}", hint=", ".join(faults))
        return faults[name](self)

    # --- what the kernel knows ---

    def topology(self, *, live: bool = False) -> TopologyView:
        """Draw the cluster and this lab's pods; ``live`` keeps counting until the lab is reset."""
        from glasshive.widgets import TopologyView

        view = TopologyView(snapshot(self.cluster, self.namespace))
        self._views.append(view)
        return view.live(lambda: snapshot(self.cluster, self.namespace), per_second=2.0) if live else view

    def rows(self, node: str, name: str, columns: Sequence[str] = (), **where: object) -> list[dict[str, Any]]:
        """Give rows of a node's BPF map that have these values in these columns."""
        found = [row for row in self.cluster.maps(node, name) if all(_matches(row, *one) for one in where.items())]
        return _sorted([{key: row.get(key) for key in columns} for row in found] if columns else found)

    def connections(self, node: str, one: str, other: str) -> MapTable:
        """Show the connections between two pods that a node's conntrack map holds; ``len`` of it counts them."""
        from glasshive.widgets import MapTable

        ends = {*self.status(one).addresses}, {*self.status(other).addresses}
        rows = [
            {"low": row["low"], "high": row["high"], "protocol": row["protocol"]}
            for row in self.cluster.maps(node, "conntrack")
            if (row["low"] in ends[0] and row["high"] in ends[1]) or (row["low"] in ends[1] and row["high"] in ends[0])
        ]
        view = MapTable(f"connections of {one} and {other} on {node}", _sorted(rows))
        self._views.append(view)
        return view

    def map(self, node: str, name: str, columns: Sequence[str] = (), **where: object) -> MapTable:
        """Show rows of a node's BPF map as a table."""
        from glasshive.widgets import MapTable

        view = MapTable(f"{name} on {node}", self.rows(node, name, columns, **where))
        self._views.append(view)
        return view

    def mark_drops(self) -> None:
        """Count drops from here on."""
        self._drops_before = drop_counts(self.cluster)

    def drops(self, *reasons: str) -> DropsChart:
        """Chart what has been dropped since ``mark_drops`` (or since the lab was opened), of these reasons if named."""
        from glasshive.widgets import DropsChart
        from glasshive.widgets.drops import since

        found = since(drop_counts(self.cluster), self._drops_before)
        return DropsChart([one for one in found if not reasons or one.reason in reasons])

    def last_drop(self, reason: str) -> str:
        """Tell the last packet dropped for a reason: on which node, from where to where, and what the reason means."""
        latest = last_drop_record(self.cluster, reason)
        if latest is None:
            return f"no packet has been dropped for the reason {reason}"
        node, record = latest
        flow = f"{record['protocol']} {record['source']} -> {record['destination']}"
        told = textwrap.fill(f"{reason}: {drop_reason(reason)}", 90, initial_indent="  ", subsequent_indent="  ")
        return f"{node} dropped {flow} ({record['direction']})\n{told}"

    def endpoint(self, name: str) -> dict[str, Any]:
        """Give what the agent knows about a pod: its record as the CNI ADD request left it."""
        node = self.status(name).node
        for row in self.cluster.backend.node_request(node, "GET", "/v1/endpoints"):
            if (row["namespace"], row["pod"]) == (self.namespace, name):
                return dict(row)
        raise NotFoundError(f"the agent of {node} has no endpoint for pod {name!r}")

    def links(self, name: str) -> list[str]:
        """Give the links that hold the datapath's programs at a pod's device: one for each direction."""
        from glasshive.bpf import inspect

        pod = self.endpoint(name)
        folder = f"/sys/fs/bpf/glasshive/{self.cluster.name}/{self.status(name).node}/links"
        programs = {one.id: one.name for one in inspect.programs()}
        links = {one.id: one for one in inspect.links()}
        found = []
        for pin in inspect.pins(folder):
            if pin.path.name.startswith(f"pod_{pod['id']}_") and pin.id in links:
                link = links[pin.id]
                found.append(f"{link.attach_type.lower()}: {programs.get(link.program_id, '?')}")
        return sorted(found)

    def program(self, name: str) -> TeachingProgram:
        """Load a teaching program of ``bpf/labs`` and show it: source, instructions, maps, or why it was refused."""
        from glasshive.lab.programs import TeachingProgram

        loaded = TeachingProgram.open(name, self.entry.folder)
        self._views.append(loaded)
        return loaded

    # --- questions and checks ---

    def predict(self, question: str, *options: str) -> Question:
        """Ask for a prediction before a cell is run."""
        from glasshive.widgets import Question

        if len(options) < 2:
            raise UsageError("a prediction needs at least two options")
        view = Question(question, options)
        self._views.append(view)
        return view

    def check(self, name: str, *, within_s: float = CHECK_SECONDS) -> CheckResult:
        """Look at the real state until it is right or the time is over; says what was seen and what was wanted."""
        checks: dict[str, Check] = self._beside("CHECKS")
        if name not in checks:
            raise NotFoundError(f"lab {self.entry.id} has no check {name!r}", hint=", ".join(checks))
        deadline = time.monotonic() + within_s
        while True:
            try:
                result = checks[name](self)
            except GlasshiveError as trouble:
                result = CheckResult(name, Verdict.ERROR, str(trouble), why="the check itself could not look")
            if result or time.monotonic() >= deadline:
                return result
            time.sleep(_POLL_S)

    def reset(self) -> str:
        """Remove everything this lab made; the cluster stays for the next one."""
        for view in self._views:
            view.close()
        self._views.clear()
        components.start_all(self.cluster)
        self.cluster.delete("namespace", self.namespace)
        self.cluster.wait("namespace", self.namespace, "deleted", namespace=None)
        return f"lab {self.entry.id} is as before: namespace {self.namespace} is gone"

    def _beside(self, table: str) -> Any:
        return getattr(importlib.import_module(f"glasshive.lab.checks.{self.entry.topic}"), table)


def _cluster(name: str, nodes: int) -> Cluster:
    """Find the cluster, or bring it up."""
    try:
        found = connect(name)
    except NotFoundError:
        return Cluster(name, nodes=nodes).up()
    if found.config.nodes < nodes:
        raise CapabilityError(
            f"cluster {name} has {found.config.nodes} nodes, this lab wants {nodes}",
            hint=f"glasshive down {name}, then run this cell again",
        )
    return found


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put rows in an order of their own: a hash map has none, and readers look for what changed."""
    return sorted(rows, key=lambda row: [str(value) for value in row.values()])


def _matches(row: Mapping[str, Any], key: str, value: object) -> bool:
    held = row.get(key)
    return held == value or str(held) == str(value)
