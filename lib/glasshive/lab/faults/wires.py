"""Faults at a node's devices and hooks: a dropping rule, a small MTU, a detached program."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from glasshive.bpf import ObjectSpec, Program, link, syscall
from glasshive.errors import NotFoundError, UsageError
from glasshive.lab.faults.fault import Fault, Hands
from glasshive.lab.faults.truth import Truth
from glasshive.lab.manifest import labs_folder
from glasshive.net.netns import in_netns

_DEVICE = "eth0"
_LEAST_MTU = 1280  # RFC 8200: below it a device has no IPv6


class DropRule(Fault):
    """A program in front of the node's own drops what goes to one port."""

    name = "drop-rule"
    title = "a rule drops what goes to one port"
    params = ("node", "port")
    needs = ("attach:tcx",)

    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """``port``: of TCP and UDP."""
        port = given["port"]
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
            raise UsageError(f"port is {port!r}", hint="1 to 65535")
        node = hands.node(given["node"]).name
        return self.truth(
            given,
            {
                "node": node,
                "device": _DEVICE,
                "hook": "tcx ingress",
                "program": "drop_port",
                "pin": f"fault_drop_{port}",
            },
            {},
            cause=f"the program drop_port stands first at {_DEVICE} of {node} and drops port {port}",
            symptom=f"nobody on another node reaches port {port} on {node}; other ports, and its own pods, do",
        )

    def apply(self, hands: Hands, truth: Truth) -> None:
        """Load, attach before all others, pin."""
        pin = self._pin(hands, truth)
        if pin.exists():
            return
        spec = ObjectSpec.open(labs_folder().parent / "bpf" / "build" / "drop_port.bpf.o")
        spec.rodata["port"] = truth.params["port"]
        index = _index(hands, truth.where["node"], _DEVICE)

        def attach() -> None:
            with link.tcx(loaded.programs["drop_port"], index, "ingress", first=True) as made:
                made.pin(pin)

        with spec.load() as loaded:
            in_netns(hands.paths.node_netns(truth.where["node"]), attach)

    def present(self, hands: Hands, truth: Truth) -> bool:
        """Whether its link is there."""
        return self._pin(hands, truth).exists()

    def undo(self, hands: Hands, truth: Truth) -> None:
        """Detach and unpin."""
        _remove(self._pin(hands, truth))

    @staticmethod
    def _pin(hands: Hands, truth: Truth) -> Path:
        return hands.pins(truth.where["node"]) / "links" / str(truth.where["pin"])


class SmallMtu(Fault):
    """A node's wire takes smaller packets than everybody believes."""

    name = "mtu"
    title = "a wire takes smaller packets than everybody believes"
    params = ("node", "bytes")
    defaults: ClassVar[Mapping[str, Any]] = {"bytes": 1300}

    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """``bytes``: of the node's device, 1280 at least."""
        node = hands.node(given["node"]).name
        now = int(_device(hands, node, _DEVICE)["mtu_bytes"])
        if not isinstance(given["bytes"], int) or not _LEAST_MTU <= given["bytes"] < now:
            raise UsageError(f"bytes is {given['bytes']!r}", hint=f"{_LEAST_MTU} to {now - 1}")
        return self.truth(
            given,
            {"node": node, "device": _DEVICE, "mtu_bytes": given["bytes"]},
            {"mtu_bytes": now},
            cause=f"{_DEVICE} of {node} has an MTU of {given['bytes']} bytes, its neighbours {now}",
            symptom=f"small packets reach {node}, large ones do not, and nobody is told",
        )

    def apply(self, hands: Hands, truth: Truth) -> None:
        """Set it."""
        self._set(hands, truth, truth.where["mtu_bytes"])

    def present(self, hands: Hands, truth: Truth) -> bool:
        """Whether it is set."""
        return bool(_device(hands, truth.where["node"], _DEVICE)["mtu_bytes"] == truth.where["mtu_bytes"])

    def undo(self, hands: Hands, truth: Truth) -> None:
        """Set it back."""
        self._set(hands, truth, truth.before["mtu_bytes"])

    @staticmethod
    def _set(hands: Hands, truth: Truth, mtu: int) -> None:
        hands.run(truth.where["node"], "ip", "link", "set", "dev", _DEVICE, "mtu", str(mtu))


class DetachedProgram(Fault):
    """A pod's device has lost the program that judges what the pod sends."""

    name = "detached-program"
    title = "a pod's device has lost its program"
    params = ("namespace", "pod")
    needs = ("attach:tcx",)

    def plan(self, hands: Hands, given: Mapping[str, Any]) -> Truth:
        """The program is ``from_pod``, at the ingress of the node's end of the wire."""
        pod = hands.pod(given["namespace"], given["pod"])
        known = hands.endpoint(pod)
        pin = f"pod_{known['id']}_ingress"
        return self.truth(
            given,
            {
                "node": pod.node,
                "device": known["hostInterface"],
                "hook": "tcx ingress",
                "program": "from_pod",
                "pin": pin,
            },
            {"ifindex": known["ifindex"], "pin": pin},
            cause=f"the link {pin} of {pod.node} holds no program: {pod.name}'s device lost from_pod",
            symptom=f"what {pod.name} sends is judged by nobody: a false source address passes, no policy holds",
        )

    def apply(self, hands: Hands, truth: Truth) -> None:
        """Detach the pinned link; the pin stays, empty."""
        if not self.present(hands, truth):
            with link.Link.open(self._pin(hands, truth)) as held:
                held.detach()

    def present(self, hands: Hands, truth: Truth) -> bool:
        """Whether the link holds on to no device."""
        pin = self._pin(hands, truth)
        return pin.exists() and _held_device(pin) == 0

    def undo(self, hands: Hands, truth: Truth) -> None:
        """Attach the node's program again, unless the pod has gone or the agent has done so."""
        pin = self._pin(hands, truth)
        if not pin.exists() or _held_device(pin):
            return
        with Program.open(hands.pins(truth.where["node"]) / "progs" / "from_pod") as program:
            index = int(truth.before["ifindex"])
            in_netns(
                hands.paths.node_netns(truth.where["node"]),
                lambda: link.attach_tc(program, index, "ingress", pin).close(),
            )

    @staticmethod
    def _pin(hands: Hands, truth: Truth) -> Path:
        return hands.pins(truth.where["node"]) / "links" / str(truth.where["pin"])


def _held_device(pin: Path) -> int:
    """ifindex of the device at which a pinned tcx link is, 0 when it is detached."""
    with link.Link.open(pin) as held:
        return int(struct.unpack_from("=I", syscall.info_by_fd(held.fd, 64), 16)[0])


def _device(hands: Hands, node: str, name: str) -> dict[str, Any]:
    for row in hands.cluster.survey(node):
        if row["name"] == name:
            return row
    raise NotFoundError(f"{node} has no device {name}")


def _index(hands: Hands, node: str, name: str) -> int:
    return int(_device(hands, node, name)["index"])


def _remove(pin: Path) -> None:
    with contextlib.suppress(NotFoundError, FileNotFoundError):
        if pin.exists():
            with link.Link.open(pin) as held:
                held.detach()
            pin.unlink()
