"""A backend without nodes, for tests and for trying things out without root: a real API server, everything else canned.

``FakeBackend(directory)`` runs the embedded API server and the controllers in a thread of this process. Objects are
stored, validated and watched as on a real cluster; nodes and pods are what the caller says they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glasshive.cluster.progress import Progress
from glasshive.errors import NotFoundError
from glasshive.kube.endpoint import ApiEndpoint, from_socket
from glasshive.model.cluster import ClusterStatus, Completed

_START_SECONDS = 10.0


@dataclass(frozen=True)
class FakeProcess:
    """A process that is not there; ``log`` is a path without a file."""

    name: str
    log: str
    switched: list[tuple[str, str]]

    def stop(self, *, kill: bool = False) -> None:
        """Note it."""
        self.switched.append(("kill" if kill else "stop", self.name))

    def start(self) -> None:
        """Note it."""
        self.switched.append(("start", self.name))


class FakeBackend:
    """``answers`` maps ``(method, path)`` to what every agent says; ``commands`` an argv's first word to output."""

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "fake",
        answers: Mapping[tuple[str, str], Any] | None = None,
        commands: Mapping[str, Completed] | None = None,
    ) -> None:
        self.name = name
        self.asked: list[tuple[str, str, str, Any]] = []  # (node, method, path, body) of each node_request
        self.switched: list[tuple[str, str]] = []  # ("stop", "kill" or "start", process)
        self._directory = directory
        self._answers = dict(answers or {})
        self._commands = dict(commands or {})
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    def up(self, follow: Callable[[Progress], None], timeout: float) -> None:
        """Start the API server."""
        self._thread = threading.Thread(target=self._serve, name="fake-cluster", daemon=True)
        self._thread.start()
        self._ready.wait(min(timeout, _START_SECONDS))
        if self._failure is not None:
            raise self._failure
        follow(Progress("control plane ready", 0.0, "control-plane"))

    def down(self) -> bool:
        """Stop it."""
        if self._thread is None or self._loop is None:
            return False
        for task in asyncio.all_tasks(self._loop):
            self._loop.call_soon_threadsafe(task.cancel)
        self._thread.join(_START_SECONDS)
        self._thread = None
        return True

    def status(self) -> ClusterStatus:
        """Ready while the API server runs."""
        return ClusterStatus(self.name, "ready" if self._thread else "down", kubeconfig=self.kubeconfig())

    def api(self) -> ApiEndpoint:
        """Return the API server's socket."""
        return from_socket(self._directory / "api.sock")

    def kubeconfig(self) -> str:
        """Return a path; no file is written."""
        return str(self._directory / "kubeconfig")

    def node_request(self, node: str, method: str, path: str, body: Any = None, *, timeout: float = 30.0) -> Any:
        """Answer from ``answers``."""
        del timeout
        self.asked.append((node, method, path, body))
        try:
            return self._answers[method, path]
        except KeyError:
            raise NotFoundError(f"{node}: no answer for {method} {path} was given") from None

    def node_exec(self, node: str, argv: Sequence[str], *, stdin: str, timeout: float) -> Completed:
        """Answer from ``commands``."""
        del stdin, timeout
        try:
            return self._commands[argv[0]]
        except KeyError:
            raise NotFoundError(f"{node}: there is no command {argv[0]}") from None

    def node_command(self, node: str, argv: Sequence[str]) -> None:
        """Do nothing: there is nowhere to go."""

    def process(self, name: str) -> FakeProcess:
        """Return a process whose switch is only noted, in ``switched``."""
        return FakeProcess(name, str(self._directory / f"{name}.log"), self.switched)

    def _serve(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits in up()
            self._failure = error
            self._ready.set()

    async def _run(self) -> None:
        from glasshive.kube.client import Client
        from glasshive.kube.server import Server
        from glasshive.operator import Operator

        self._loop = asyncio.get_running_loop()
        server = Server(self._directory / "store.db", port=None, socket=self._directory / "api.sock")
        await server.start()
        try:
            async with Client(socket=self._directory / "api.sock") as client:
                self._ready.set()
                await Operator(client).run()
        finally:
            await server.stop()
