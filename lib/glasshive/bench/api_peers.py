"""Who takes part in ``bench api``: our API server, etcd, and SQLite alone.

- **glasshive**: the embedded cluster's API server in a process of its own, over its unix socket, its store on disk.
- **etcd** (Debian's ``etcd-server``, if it is there): what holds a Kubernetes API server's objects. It neither
  validates nor defaults nor versions them as Kubernetes does; the same client asks it over its own JSON gateway. Its
  data lies on a memory file system, so that its fsync after each batch costs nothing: ours leaves that to the kernel.
- **SQLite alone**: the same rows into the same table in groups as large as there are clients, in the harness's own
  process, without HTTP, JSON or validation: the ceiling.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from glasshive.bench.http_load import Address, post
from glasshive.errors import DeadlineError, ProcessError
from glasshive.kube.server import Server
from glasshive.kube.server.log import ADDED, Log, Row

START_SECONDS = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PATH = "/api/v1/namespaces/default/configmaps"


class Store(Protocol):
    """A running server that takes writes and tells of them. ``process`` is it."""

    name: str
    process: subprocess.Popen[bytes]
    address: Address

    def write(self, number: int, value: str) -> bytes:
        """Return the request that makes object ``number`` with this value."""

    def watch(self) -> bytes:
        """Return the request of a watch on all of them, from now on."""


@dataclass
class ApiServer:
    """Our server. Objects are ConfigMaps."""

    process: subprocess.Popen[bytes]
    address: Address
    name: str = "glasshive"

    def write(self, number: int, value: str) -> bytes:
        """A new ConfigMap."""
        return post(_PATH, {"metadata": {"name": f"bench-{number:07d}"}, "data": {"note": value}})

    def watch(self) -> bytes:
        """A watch of the collection."""
        return f"GET {_PATH}?watch=1&timeoutSeconds=300 HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@dataclass
class Etcd:
    """etcd over its JSON gateway. Values are what our server would store for the same object."""

    process: subprocess.Popen[bytes]
    address: Address
    name: str = "etcd"

    def write(self, number: int, value: str) -> bytes:
        """A new key."""
        key = f"/registry/configmaps/default/bench-{number:07d}"
        stored = (
            '{"apiVersion":"v1","data":{"note":"%s"},"kind":"ConfigMap","metadata":{"creationTimestamp":'
            '"2026-01-01T00:00:00Z","name":"bench-%07d","namespace":"default","resourceVersion":"1",'
            '"uid":"00000000-0000-4000-8000-000000000000"}}'
        )
        return post("/v3/kv/put", {"key": _base64(key), "value": _base64(stored % (value, number))})

    def watch(self) -> bytes:
        """A watch of the range that holds them."""
        wanted = {"key": _base64("/registry/"), "range_end": _base64("/registry0")}
        return post("/v3/watch", {"create_request": wanted})


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@contextmanager
def api_server() -> Iterator[Store]:
    """A fresh API server, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="glasshive-bench-") as folder:
        argv = [sys.executable, "-m", "glasshive.bench.api_peers", folder]
        path = f"{folder}/api.sock"
        with _running(argv) as process:
            _until(process, lambda: _connects(socket.AF_UNIX, path))
            yield ApiServer(process, Address(socket=path))


def etcd_program() -> str | None:
    """Where etcd is: GLASSHIVE_ETCD, or the path."""
    return os.environ.get("GLASSHIVE_ETCD") or shutil.which("etcd")


@contextmanager
def etcd() -> Iterator[Store]:
    """A fresh etcd of one member, gone at the end."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made there
    with tempfile.TemporaryDirectory(prefix="glasshive-bench-", dir=memory if memory.is_dir() else None) as folder:
        port, peer = _free_port(), _free_port()
        url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        argv = [
            etcd_program() or "etcd", "--data-dir", folder, "--name", "bench",
            "--logger", "zap", "--log-level", "error",
            "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer_url,
            "--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"bench={peer_url}",
        ]  # fmt: skip
        with _running(argv) as process:
            _until(process, lambda: _connects(socket.AF_INET, ("127.0.0.1", port)))
            yield Etcd(process, Address(port=port))


def sqlite_alone(group: int, seconds: float) -> tuple[int, float]:
    """Rows written in transactions of ``group`` rows for ``seconds``; (rows, CPU seconds)."""

    async def run() -> tuple[int, float]:
        log = Log(Path(folder) / "store.db")
        data = b"x" * 300  # about what a ConfigMap of the benchmark takes
        done, cpu, end = 0, time.process_time(), time.monotonic() + seconds
        while time.monotonic() < end:
            rows = [Row(done + n + 1, "configmaps", ("default", f"bench-{n}"), ADDED, 0, data) for n in range(group)]
            log.append(rows, (), {})
            done += group
        cpu = time.process_time() - cpu
        await log.close()
        return done, cpu

    with tempfile.TemporaryDirectory(prefix="glasshive-bench-") as folder:
        return asyncio.run(run())


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


@contextmanager
def _running(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def _until(process: subprocess.Popen[bytes], holds: Any) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if process.poll() is not None:
            said = process.stderr.read().decode(errors="replace").strip()[-400:] if process.stderr else ""
            raise ProcessError(f"{process.args!r} ended with {process.returncode}: {said}")
        if time.monotonic() > deadline:
            raise DeadlineError(f"{process.args!r} did not listen within {START_SECONDS:g} s")
        time.sleep(0.01)


def _connects(family: int, address: Any) -> bool:
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _serve(folder: Path) -> None:
    server = Server(folder / "store.db", port=None, socket=folder / "api.sock")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
