"""One pod's life on this node, from the first look at the object to its removal from the API. One task per uid.

The order of things: images known? volumes and variables there? namespace, CNI, first process; then the pod's own
account and the probes change the status until the pod ends or is deleted. Failures are events and a waiting reason, and
are tried again with growing pauses; nothing half-made stays between two tries.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

from glasshive.api.resources import CONFIG_MAP, POD, SECRET
from glasshive.cluster.embedded.kubelet import containers, volumes
from glasshive.cluster.embedded.kubelet.context import Context
from glasshive.cluster.embedded.kubelet.observe import ContainerEvents, ProbeSet
from glasshive.cluster.embedded.kubelet.report import Reporter
from glasshive.cluster.embedded.kubelet.sandbox import PodSandbox, remove_quietly
from glasshive.cluster.embedded.kubelet.status import TERMINAL, Observed
from glasshive.cluster.embedded.pods import client
from glasshive.cluster.embedded.pods.spec import VOLUMES
from glasshive.errors import ApiError, GlasshiveError, ManifestError, ProcessError
from glasshive.kube.objects import Object, is_terminating
from glasshive.operator.clock import now_text

LOG = logging.getLogger(__name__)
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
STOP_SLACK_SECONDS = 3.0
_KINDS = {"ConfigMap": CONFIG_MAP, "Secret": SECRET}


class PodWorker:
    """Keeps one pod. ``update`` brings newer objects, ``gone`` says that the object is no more; ``done`` is the task's
    end.
    """

    def __init__(self, context: Context, pod: Object) -> None:
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self._context = context
        self._vanished = False
        self._changed = asyncio.Event()
        self.sandbox = PodSandbox(context.config, context.inventory, self.uid)
        self.seen = Observed(host_addresses=context.config.addresses)
        self._reporter = Reporter(context.client, self)
        self._probes = ProbeSet(self)
        self._events = ContainerEvents(self)
        self._attempts = 0

    # --- from the kubelet ---

    def update(self, pod: Object) -> None:
        """Take a newer form of the object."""
        self.pod = pod
        self._changed.set()

    def gone(self) -> None:
        """The object is no more: end the pod without grace."""
        self._vanished = True
        self._changed.set()

    def event(self, kind: str, reason: str, message: str) -> None:
        """Tell people through an Event of the pod. ``kind`` is Normal or Warning."""
        recorder = self._context.events
        (recorder.normal if kind == "Normal" else recorder.warning)(self.pod, reason, message, "kubelet")

    def dirty(self) -> None:
        """The status may have changed."""
        self._reporter.wake()

    async def execute(self, container: str, argv: list[str], timeout_seconds: float) -> tuple[int, str]:
        """Run a probe's command."""
        try:
            outcome = await client.run_command(self.sandbox.directory, container, argv, timeout_seconds=timeout_seconds)
        except ProcessError as error:
            return 1, str(error)
        output = (outcome.stdout + outcome.stderr).decode(errors="replace")
        return outcome.rc, outcome.error or output

    async def restart(self, container: str, why: str) -> None:
        """End a container's run because its liveness or startup probe failed; the restart policy does the rest."""
        self.event("Normal", "Killing", f"Container {container} failed {why} probe, will be restarted")
        grace = float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))
        await client.tell(self.sandbox.directory, "restart", container=container, grace=grace)

    # --- life ---

    @property
    def _ending(self) -> bool:
        return self._vanished or is_terminating(self.pod)

    async def run(self) -> None:
        """Live until the pod is gone. Cancelled when the kubelet ends: the pod itself then goes on."""
        reporter = asyncio.create_task(self._reporter.run(), name=f"report-{self.uid}")
        try:
            await self._live()
            await self._terminate()
        finally:
            self._probes.stop()
            reporter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporter

    async def _live(self) -> None:
        failures = 0
        connection = await self._adopt()
        while not self._ending:
            if connection is None:
                if self._finished() or (self.pod.get("status") or {}).get("phase") in TERMINAL:
                    await remove_quietly(self.sandbox, self._context.cni)
                    await self._wait(None)
                    continue
                connection = await self._start()
            if connection is None:
                await self._wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
                continue
            failures = 0
            await self._follow(connection)
            connection = None
            if not self._ending and not self._finished():
                await self._lost()

    async def _adopt(self) -> client.Connection | None:
        """Take over a pod that an earlier kubelet started; clean up after one that it did not finish starting."""
        record = self.sandbox.record
        if record is not None:
            self.seen.addresses, self.seen.start_time = record.addresses, record.start_time
            self.seen.restarts_before = dict(record.restarts_before or {})
            self._attempts = record.attempt
        if self.sandbox.alive:
            with contextlib.suppress(ProcessError, OSError):  # it has ended just now
                connection = await client.connect_pod(self.sandbox.directory)
                await connection.ask("watch")
                self.seen.account = self.sandbox.account()
                return connection
        # Read only now: what is dead has written its last account. Nobody was here to report it when it did.
        self.seen.account = self.sandbox.account()
        if self.seen.account is not None:
            self.dirty()
        if record is not None and not self._ending and not self._finished():
            await self._lost()
        return None

    async def _start(self) -> client.Connection | None:
        """Bring the pod up; None if something stands against it, which has been reported."""
        unknown = containers.check_images(self.pod)
        if unknown:
            self._refuse_images(unknown)
            return None
        if not self.seen.start_time:
            self.seen.start_time = now_text()
        await self._context.network.wait()
        self.seen.waiting.clear()
        cni = self._context.cni
        assert cni is not None
        try:
            objects = await self._objects()
            addresses = await self.sandbox.attach(
                self.pod, cni, attempt=self._attempts, start_time=self.seen.start_time
            )
            place = containers.Place(addresses, self._context.config.addresses)
            spec = containers.pod_spec(self.pod, self._context.config, objects, place)
            volumes.materialise(self.pod, self.sandbox.directory / VOLUMES, objects, place)
            connection, account = await self.sandbox.launch(spec)
        except ManifestError as error:
            await self._failed("CreateContainerConfigError", "Failed", str(error))
            return None
        except (GlasshiveError, OSError) as error:
            text = f"Failed to create pod sandbox: {error}"
            await self._failed("ContainerCreating", "FailedCreatePodSandBox", text)
            return None
        self.seen.addresses = addresses
        self._account(account)
        return connection

    async def _failed(self, waiting: str, event: str, text: str) -> None:
        left = await remove_quietly(self.sandbox, self._context.cni)
        LOG.warning(
            "pod %s/%s: %s%s",
            self.pod["metadata"]["namespace"],
            self.pod["metadata"]["name"],
            text,
            left and f"; {left}",
        )
        self.seen.waiting = {"": (waiting, text)}
        self.seen.addresses = ()
        self.event("Warning", event, text)
        self.dirty()

    def _refuse_images(self, unknown: list[tuple[str, str, str]]) -> None:
        """As a registry that does not have the image: the first time an error, then a back-off."""
        for container, image, message in unknown:
            again = container in self.seen.waiting
            self.seen.waiting[container] = ("ImagePullBackOff" if again else "ErrImagePull", message)
            if not again:
                self.event("Warning", "Failed", f"Failed to pull image {image!r}: {message}")
        self.dirty()

    async def _objects(self) -> dict[containers.Reference, Object | None]:
        """The ConfigMaps and Secrets that the pod mentions; None for those that are missing."""
        wanted = sorted(containers.references(self.pod))
        return dict(zip(wanted, await asyncio.gather(*map(self._object, wanted)), strict=True))

    async def _object(self, reference: containers.Reference) -> Object | None:
        try:
            return await self._context.client.get(_KINDS[reference[0]], reference[1], self.pod["metadata"]["namespace"])
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def _follow(self, connection: client.Connection) -> None:
        """Take in what the first process says until it has ended or the pod is to be ended."""
        reader = asyncio.create_task(self._read(connection))
        try:
            while not reader.done() and not self._ending:
                await self._wait(None, reader)
            if not reader.done():
                await self._stop(reader)
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            connection.close()
            self._probes.stop()
        self.seen.account = self.sandbox.account() or self.seen.account
        self.dirty()

    async def _read(self, connection: client.Connection) -> None:
        async for letter, payload in connection.frames():
            if letter == b"s":
                self._account(json.loads(payload))

    def _account(self, account: dict[str, Any]) -> None:
        self._events.compare(self.seen.account, account)
        self.seen.account = account
        self._probes.match(account, stopping=self._ending)
        self.dirty()

    async def _stop(self, reader: asyncio.Task[None]) -> None:
        """End the pod with its grace period; a second, shorter wish is obeyed too."""
        self._probes.stop()
        grace = self._grace()
        self.event("Normal", "Killing", "Stopping the pod's containers")
        await self.sandbox.stop(grace)
        deadline = asyncio.get_running_loop().time() + grace + STOP_SLACK_SECONDS
        while not reader.done():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or self._grace() <= 0:
                self.sandbox.kill()
                await asyncio.wait({reader}, timeout=STOP_SLACK_SECONDS)
                return
            await self._wait(left, reader)

    def _grace(self) -> float:
        if self._vanished:
            return 0.0
        return float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0)

    def _finished(self) -> bool:
        """Whether all containers have ended as they may; a pod that is to run always never has."""
        policy = self.pod["spec"].get("restartPolicy") or "Always"
        return policy != "Always" and bool((self.seen.account or {}).get("over"))

    async def _lost(self) -> None:
        """The first process has gone though its work was not done (somebody killed it): begin anew."""
        self.event("Warning", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        account = self.seen.account or {}
        for own in (*account.get("initContainers", ()), *account.get("containers", ())):
            before = self.seen.restarts_before
            before[own["name"]] = before.get(own["name"], 0) + own["restartCount"] + 1
        await remove_quietly(self.sandbox, self._context.cni)
        self._attempts += 1
        self.seen.account, self.seen.addresses = None, ()

    async def _terminate(self) -> None:
        """Remove everything, tell the API the end, and let the object go."""
        deadline = RETRY_SECONDS
        for pause in (*deadline, 0.0):
            left = await remove_quietly(self.sandbox, self._context.cni)
            if not left:
                break
            LOG.warning("pod %s: %s", self.uid, left)
            await asyncio.sleep(pause)
        if not self._vanished:
            await self._reporter.last_word()
            await self._delete_object()
        self.sandbox.forget()

    async def _delete_object(self) -> None:
        meta = self.pod["metadata"]
        for pause in RETRY_SECONDS:
            try:
                await self._context.client.delete(POD, meta["name"], meta["namespace"], grace_seconds=0, uid=self.uid)
            except ApiError as error:
                if error.code in {404, 409}:
                    return
                LOG.warning("pod %s/%s: %s", meta["namespace"], meta["name"], error)
                await asyncio.sleep(pause)
            else:
                return

    async def _wait(self, seconds: float | None, also: asyncio.Task[None] | None = None) -> None:
        """Until the object changes, ``also`` is done, or the time is over."""
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait(
                {changed, also} if also else {changed}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            changed.cancel()
        self._changed.clear()
