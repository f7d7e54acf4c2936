"""What follows from a pod's account: events for people, and probes for each run of each container."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

from glasshive.cluster.embedded.kubelet.probes import Probe, Prober, Subject
from glasshive.cluster.embedded.kubelet.status import Observed
from glasshive.errors import GlasshiveError
from glasshive.kube.objects import Object


class Owner(Protocol):
    """The pod's worker, as far as it is needed here."""

    pod: Object
    seen: Observed

    def event(self, kind: str, reason: str, message: str) -> None:
        """Tell people."""

    def dirty(self) -> None:
        """The status may have changed."""

    async def execute(self, container: str, argv: list[str], timeout_seconds: float) -> tuple[int, str]:
        """Run a command in a container."""

    async def restart(self, container: str, why: str) -> None:
        """End a container's run."""


def _all(account: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    if account is not None:
        yield from account["initContainers"]
        yield from account["containers"]


class ContainerEvents:
    """Pulled, Created, Started, BackOff ... as a kubelet tells them."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def compare(self, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        """Tell what is new."""
        old = {c["name"]: c for c in _all(before)}
        for new in _all(after):
            known = old.get(new["name"], {})
            name, image = new["name"], new["image"]
            if new["containerID"] and new["containerID"] != known.get("containerID"):
                self._owner.event("Normal", "Pulled", f"Container image {image!r} is in the catalogue")
                self._owner.event("Normal", "Created", f"Created container: {name}")
                self._owner.event("Normal", "Started", f"Started container {name}")
            waiting = new["state"].get("waiting", {})
            if waiting.get("reason") == "CrashLoopBackOff" and waiting != known.get("state", {}).get("waiting"):
                self._owner.event("Warning", "BackOff", f"Back-off restarting failed container {name}")
            ended = new["state"].get("terminated") or new["lastState"].get("terminated") or {}
            if ended.get("reason") == "StartError" and new["restartCount"] != known.get("restartCount"):
                self._owner.event("Warning", "Failed", f"Error: {ended['message']}")


class ProbeSet:
    """The probes of one pod. Each run of a container has its own: they start with it and end with it."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._tasks: dict[tuple[str, str], tuple[str, asyncio.Task[None]]] = {}
        self._restarts: set[asyncio.Future[None]] = set()

    def match(self, account: dict[str, Any], *, stopping: bool) -> None:
        """Make the running probes those of the running containers."""
        spec = self._owner.pod["spec"]
        running = {c["name"]: c["containerID"] for c in _all(account) if "running" in c["state"] and not stopping}
        for key, (run, task) in list(self._tasks.items()):
            if running.get(key[0]) != run:
                task.cancel()
                del self._tasks[key]
        for container in (*(spec.get("initContainers") or []), *(spec.get("containers") or [])):
            name = container["name"]
            if name not in running:
                self._reset(container)
            elif not any(key[0] == name for key in self._tasks):
                self._reset(container)
                self._begin(container, running[name])

    def stop(self) -> None:
        """End all probes."""
        for _, task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _reset(self, container: Object) -> None:
        if "readinessProbe" in container:
            self._owner.seen.ready[container["name"]] = False
        if "startupProbe" in container:
            self._owner.seen.started[container["name"]] = False

    def _begin(self, container: Object, run: str) -> None:
        if "startupProbe" in container:
            self._spawn(container, run, "startup")
        else:
            self._begin_others(container, run)

    def _begin_others(self, container: Object, run: str) -> None:
        for kind in ("readiness", "liveness"):
            if f"{kind}Probe" in container:
                self._spawn(container, run, kind)

    def _spawn(self, container: Object, run: str, kind: str) -> None:
        name = container["name"]
        seen = self._owner.seen
        addresses = seen.addresses
        if self._owner.pod["spec"].get("hostNetwork"):
            addresses = ("127.0.0.1",)
        ports = {p["name"]: int(p["containerPort"]) for p in container.get("ports") or [] if p.get("name")}

        def changed(good: bool) -> None:
            if kind == "readiness":
                seen.ready[name] = good
                self._owner.dirty()
            elif kind == "startup" and good:
                seen.started[name] = True
                self._owner.dirty()
                self._begin_others(container, run)
            elif not good:
                restart = asyncio.ensure_future(self._owner.restart(name, kind))
                self._restarts.add(restart)
                restart.add_done_callback(self._restarts.discard)

        def failed(text: str) -> None:
            self._owner.event("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {text}")

        def execute(argv: list[str], seconds: float) -> Awaitable[tuple[int, str]]:
            return self._owner.execute(name, argv, seconds)

        prober = Prober(
            Probe.of(kind, container[f"{kind}Probe"]),
            Subject((addresses or ("127.0.0.1",))[0], ports),
            execute,
            changed,
            failed,
        )
        task = asyncio.create_task(self._guard(prober, failed), name=f"probe-{kind}-{name}")
        self._tasks[name, kind] = (run, task)

    async def _guard(self, prober: Prober, failed: Callable[[str], None]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await prober.run()
            except GlasshiveError as error:  # a probe that cannot be done at all: the container stays unready
                failed(str(error))
