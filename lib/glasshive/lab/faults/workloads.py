"""Faults of what runs: a resolver that is away, a back end that hangs, a policy with a typing mistake."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glasshive.errors import DeadlineError, NotFoundError, UsageError
from glasshive.lab.faults.fault import Fault, Hands
from glasshive.lab.faults.truth import Truth

_FREEZE_SECONDS = 5.0


class NoDns(Fault):
    """Nobody answers names on a node."""

    name = "dns"
    title = "nobody answers names on a node"
    params = ("node",)

    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """Its resolver will be stopped, and kept down."""
        process = f"{hands.node(given['node']).name}-dns"
        return self.truth(
            given,
            {"node": given["node"], "component": process},
            {},
            cause=f"the component {process} is stopped",
            symptom=f"pods of {given['node']} reach others by address, and nobody by name",
        )

    def apply(self, hands: Hands, truth: Truth) -> None:
        """Stop it."""
        if not self.present(hands, truth):
            hands.cluster.stop(truth.where["component"], kill=True)

    def present(self, hands: Hands, truth: Truth) -> bool:
        """Whether it is stopped."""
        known = {one.name: one for one in hands.cluster.backend.status().processes}
        return known[truth.where["component"]].stopped

    def undo(self, hands: Hands, truth: Truth) -> None:
        """Start it."""
        hands.cluster.start(truth.where["component"])


class DeadBackend(Fault):
    """A pod counts as ready and does nothing: its processes are frozen."""

    name = "dead-backend"
    title = "a pod counts as ready and does nothing"
    params = ("namespace", "pod")

    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """Its cgroup will be frozen (kernel documentation, cgroup-v2: cgroup.freeze)."""
        pod = hands.pod(given["namespace"], given["pod"])
        uid = hands.cluster.get("pod", pod.name, pod.namespace)["metadata"]["uid"]
        group = hands.paths.node_cgroup(pod.node) / "pods" / uid
        if not (group / "cgroup.freeze").exists():
            raise NotFoundError(f"pod {pod.name} has no cgroup {group}")
        return self.truth(
            given,
            {"node": pod.node, "pod": pod.name, "cgroup": str(group)},
            {},
            cause=f"the processes of pod {pod.name} are frozen",
            symptom=f"{pod.name} is Ready, takes connections, and never answers",
        )

    def apply(self, hands: Hands, truth: Truth) -> None:
        """Freeze."""
        del hands
        _freeze(Path(truth.where["cgroup"]), frozen=True)

    def present(self, hands: Hands, truth: Truth) -> bool:
        """Whether it is frozen."""
        del hands
        return _is_frozen(Path(truth.where["cgroup"]))

    def undo(self, hands: Hands, truth: Truth) -> None:
        """Thaw, if the pod is still there."""
        del hands
        group = Path(truth.where["cgroup"])
        if group.exists():
            _freeze(group, frozen=False)


def _is_frozen(group: Path) -> bool:
    try:
        return "frozen 1" in (group / "cgroup.events").read_text(encoding="ascii")
    except FileNotFoundError:
        return False


def _freeze(group: Path, *, frozen: bool) -> None:
    (group / "cgroup.freeze").write_text("1" if frozen else "0", encoding="ascii")
    deadline = time.monotonic() + _FREEZE_SECONDS
    while _is_frozen(group) != frozen:
        if time.monotonic() > deadline:
            raise DeadlineError(f"{group} is not {'frozen' if frozen else 'thawed'} after {_FREEZE_SECONDS:g} s")
        time.sleep(0.01)


class PolicyTypo(Fault):
    """A policy that was to let somebody in names labels that nobody has."""

    name = "policy-typo"
    title = "a policy has a typing mistake in its selector"
    params = ("namespace", "to", "allow")
    needs = ("policy",)

    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """``to``: value of the label app that the policy protects; ``allow``: the one it means to let in."""
        wanted = given["allow"]
        for name in ("to", "allow"):
            if not any(one.labels.get("app") == given[name] for one in hands.cluster.pods(given["namespace"])):
                raise NotFoundError(f"no pod of {given['namespace']} has the label app={given[name]}")
        if len(wanted) < 2 or wanted[1:2] == wanted[:1]:
            raise UsageError(f"{wanted!r} cannot be mistyped", hint="a label with two different first letters")
        typo = wanted[1] + wanted[0] + wanted[2:]
        return self.truth(
            given,
            {
                "kind": "NetworkPolicy",
                "namespace": given["namespace"],
                "name": f"allow-{wanted}",
                "selector": f"app={typo}",
            },
            {},
            cause=f"the NetworkPolicy allow-{wanted} lets in app={typo}, which nobody is; app={wanted} was meant",
            symptom=f"nobody reaches app={given['to']} any more, {wanted} included",
        )

    def apply(self, hands: Hands, truth: Truth) -> None:
        """Apply the object."""
        key, _, typo = str(truth.where["selector"]).partition("=")
        ingress = [{"from": [{"podSelector": {"matchLabels": {key: typo}}}]}]
        spec = {
            "podSelector": {"matchLabels": {"app": truth.params["to"]}},
            "policyTypes": ["Ingress"],
            "ingress": ingress,
        }
        metadata = {"name": truth.where["name"], "namespace": truth.where["namespace"]}
        hands.cluster.apply(
            {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
        )

    def present(self, hands: Hands, truth: Truth) -> bool:
        """Whether the object with the mistake is there."""
        for one in hands.cluster.get("networkpolicy", namespace=truth.where["namespace"]):
            if one["metadata"]["name"] == truth.where["name"]:
                return str(truth.where["selector"]).partition("=")[2] in str(one["spec"])
        return False

    def undo(self, hands: Hands, truth: Truth) -> None:
        """Remove the object, unless somebody has corrected it."""
        if self.present(hands, truth):
            hands.cluster.delete("networkpolicy", truth.where["name"], truth.where["namespace"])
