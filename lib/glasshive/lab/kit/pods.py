"""A lab's pods: make them, ask them, run commands in them."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping, Sequence
from typing import Any

from glasshive.errors import NotFoundError
from glasshive.lab import components
from glasshive.lab.kit.place import Place

_LOOK_S = 0.05


class Pods(Place):
    """The part of a lab that makes pods and talks to them."""

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

    def pod(
        self, name: str, *, node: str = "", image: str = "glasshive/echo", wait_s: float = 30.0,
        labels: Mapping[str, str] | None = None, ports: Mapping[str, int] | None = None, args: Sequence[str] = (),
        host: bool = False,
    ) -> Any:  # fmt: skip
        """Make one pod (if it is not there yet), wait until it is ready, and give its status in short.

        ``labels`` beside ``app``, which is its name; ``ports`` by name; ``args`` in place of the image's own, as
        ``--http=8081``. ``host``: in its node's own network. With ``wait_s=0`` nothing is waited for.
        """
        container: dict[str, Any] = {"name": "main", "image": image}
        if args:
            container["args"] = list(args)
        if ports:
            container["ports"] = [{"name": one, "containerPort": port} for one, port in ports.items()]
        spec: dict[str, Any] = {"containers": [container]}
        if node:
            spec["nodeName"] = node
        if host:
            spec["hostNetwork"] = True
        metadata = {"name": name, "labels": {"app": name, **(labels or {})}}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
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

    def warning(self, name: str, *, wait_s: float = 10.0) -> str:
        """Wait until somebody warns about a pod, and give what they say, by the event's reason."""

        def about(event: Mapping[str, Any]) -> bool:
            return bool(event["type"] == "Warning" and event["involvedObject"].get("name") == name)

        deadline = time.monotonic() + wait_s
        while not (found := [one for one in self.cluster.get("event", namespace=self.namespace) if about(one)]):
            if time.monotonic() > deadline:
                raise NotFoundError(
                    f"nobody has warned about pod {name!r} for {wait_s:g} s", hint="lab.status says more"
                )
            time.sleep(_LOOK_S)
        return f"{found[-1]['reason']}: {found[-1]['message'].split(' (')[0]}"

    def remove(self, *names: str) -> str:
        """Delete pods and wait until they have gone."""
        for name in names:
            self.cluster.delete("pod", name, self.namespace)
        for name in names:
            self.cluster.wait("pod", name, "deleted", namespace=self.namespace)
        return f"gone: {', '.join(names)}"

    def address(self, name: str, family: str = "ipv4") -> str:
        """Give a pod's address of one family."""
        wanted = [one for one in self.status(name).addresses if (":" in one) == (family == "ipv6")]
        if not wanted:
            raise NotFoundError(f"pod {name!r} has no {family} address yet")
        return str(wanted[0])

    def free_address(self, node: str) -> str:
        """Give an IPv4 address of a node's pod range that no pod has: the last usable one that is free."""
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
