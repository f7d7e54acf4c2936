"""Warm kernels: Jupyter kernels that were started before anybody needed them, with glasshive imported.

A notebook's kernel takes a second to start and to import what labs use. ``KernelPool`` has one ready, and starts the
next when it is taken; each notebook gets a kernel of its own, which is ended in the background when it is done.
``spare_imports`` goes with it: see there.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from glasshive.errors import GlasshiveError

QUIET = ["--log-level=ERROR"]  # the kernel would warn about its sockets, which are on loopback and guarded by a key
START_SECONDS = 60.0
_SUBSCRIBED_S = 0.1
_PRELOAD = (
    "import glasshive.lab.kit, glasshive.widgets.topology, glasshive.widgets.map_table, glasshive.widgets.drops\n"
)


@contextlib.contextmanager
def _absent(name: str) -> Iterator[None]:
    """Have imports of a module fail, as if it were not installed."""
    held = name in sys.modules
    if not held:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not held:
            sys.modules.pop(name, None)


def spare_imports() -> None:
    """Import nbformat without what it never uses.

    It imports jsonschema, whose optional checker of IRIs builds 39 grammars when it is imported: 2.3 of 2.5 seconds.
    No notebook schema has an IRI. Harmless when nbformat has been imported already.
    """
    with _absent("rfc3987_syntax"):
        import nbformat  # noqa: F401


class KernelPool:
    """Keeps one kernel ready. Close it, or leave its ``with`` block, to end all that it has started.

    With ``spare=False`` none is started after the first was taken: for who has a single notebook to run.
    """

    def __init__(self, *, spare: bool = True) -> None:
        self._spare = spare
        self._ready: queue.Queue[Any] = queue.Queue()
        self._lock = threading.Lock()
        self._busy: list[threading.Thread] = []
        self._managers: set[Any] = set()
        self._closed = False

    def fill(self) -> Self:
        """Start one; nothing is waited for."""
        self._run(self._start)
        return self

    @contextlib.contextmanager
    def kernel(self, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Any]:
        """Give the manager of a kernel that works in ``folder`` with these variables set; it is ended afterwards."""
        manager = self.take(folder, environment or {})
        try:
            yield manager
        finally:
            self.give_up(manager)

    def give_up(self, manager: Any) -> None:
        """End a kernel that was taken; nothing is waited for."""
        self._run(lambda: self._end(manager))

    def ready(self) -> bool:
        """Whether a kernel stands ready to be taken."""
        return not self._ready.empty()

    def take(self, folder: Path, environment: Mapping[str, str]) -> Any:
        """Give a ready kernel's manager, and start the next one. Raises GlasshiveError if none can be started."""
        if self._ready.empty() and not self._starting():
            self.fill()  # the first, or after one that could not be started
        try:
            manager = self._ready.get(timeout=START_SECONDS)
        except queue.Empty:
            raise GlasshiveError("no kernel could be started", hint="jupyter kernelspec list") from None
        if isinstance(manager, Exception):
            raise GlasshiveError(f"no kernel could be started: {manager}") from manager
        settings = json.dumps({**environment})
        _tell(manager, f"import os\nos.chdir({str(folder)!r})\nos.environ.update({settings})\ndel os\n")
        if self._spare:
            self._run(self._start)
        return manager

    def close(self) -> None:
        """End every kernel, and wait until all are gone."""
        self._closed = True
        self._join()
        for manager in [*self._managers]:
            self._end(manager)

    def __enter__(self) -> Self:
        return self.fill()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _starting(self) -> bool:
        with self._lock:
            return any(one.name == "start-kernel" and one.is_alive() for one in self._busy)

    def _run(self, work: Any) -> None:
        name = "start-kernel" if work == self._start else "end-kernel"
        thread = threading.Thread(target=work, name=name, daemon=True)
        with self._lock:
            self._busy = [one for one in self._busy if one.is_alive()] + [thread]
        thread.start()

    def _join(self) -> None:
        with self._lock:
            busy = [*self._busy]
        for one in busy:
            one.join(START_SECONDS)

    def _start(self) -> None:
        from jupyter_client.manager import KernelManager

        if self._closed:
            return
        manager = KernelManager(kernel_name="python3")
        try:
            manager.start_kernel(extra_arguments=QUIET, env={**os.environ})
            self._managers.add(manager)
            _tell(manager, _PRELOAD, first=True)
        except Exception as trouble:  # noqa: BLE001 - told to whoever waits for the kernel
            self._ready.put(trouble)
        else:
            self._ready.put(manager)

    def _end(self, manager: Any) -> None:
        """Ask the kernel to end, so that what it holds is let go; one that does not is killed."""
        self._managers.discard(manager)
        manager.shutdown_kernel(now=False)
        manager.cleanup_resources(restart=False)


def _tell(manager: Any, code: str, *, first: bool = False) -> None:
    """Run code in a kernel without a trace: no count, no history, no output."""
    client = manager.client()
    client.start_channels(iopub=False, stdin=False, hb=False)
    try:
        if first:
            _answers(manager, client)
        reply = client.execute(code, silent=True, store_history=False, reply=True, timeout=START_SECONDS)
        if reply["content"]["status"] != "ok":
            raise GlasshiveError(f"the kernel says: {reply['content'].get('evalue', '?')}")
    finally:
        client.stop_channels()


def _answers(manager: Any, client: Any) -> None:
    """Wait until a kernel that was started answers. Raises GlasshiveError when it died or the time is over."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        client.kernel_info()
        with contextlib.suppress(queue.Empty):
            client.get_shell_msg(timeout=1.0)
            return
        if not manager.is_alive():
            raise GlasshiveError("a kernel ended before it could be asked anything")
    raise GlasshiveError(f"a kernel did not answer within {START_SECONDS:g} s")


class Warm:
    """Mixed into a ``NotebookClient`` that is given a ready kernel: talks to it at once.

    nbclient would listen for 0.2 s to know that nothing more comes; here the first word on the output channel is
    enough, which says that the subscription stands and no output will be missed.
    """

    km: Any
    kc: Any

    async def async_start_new_kernel_client(self) -> Any:
        """Connect to the kernel and return its client."""
        from jupyter_client.asynchronous.client import AsyncKernelClient

        self.kc = AsyncKernelClient()
        self.kc.load_connection_info(self.km.get_connection_info())
        self.kc.start_channels(hb=False)
        self.kc.allow_stdin = False
        for _ in range(int(START_SECONDS / _SUBSCRIBED_S)):
            await self.kc.kernel_info(reply=True, timeout=START_SECONDS)
            with contextlib.suppress(queue.Empty):
                while True:  # all that belongs to this question; what comes later belongs to a cell
                    word = await self.kc.get_iopub_msg(timeout=_SUBSCRIBED_S)
                    if word["content"].get("execution_state") == "idle":
                        return self.kc
        raise GlasshiveError("a kernel's output channel cannot be reached")

    def let_go(self) -> None:
        """Close the connection; the kernel goes on."""
        if self.kc is not None:
            self.kc.stop_channels()
            self.kc = None
