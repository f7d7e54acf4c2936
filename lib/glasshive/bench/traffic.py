"""The load of the network benchmarks: a small C program, compiled once, placed into namespaces and cgroups."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from glasshive.bench.measure import Sample
from glasshive.errors import CompileError, NotFoundError, ProcessError

Mode = Literal["stream", "rr", "crr"]
PORT = 7000
_SOURCE = Path(__file__).with_name("traffic.c")


def cgroup2_root() -> Path:
    """Where cgroup v2 is mounted (``/sys/fs/cgroup``, or ``.../unified`` on hybrid hosts)."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="ascii").splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 "):
            return Path(left.split()[4])
    raise NotFoundError("cgroup v2 is not mounted", hint="mount -t cgroup2 none /sys/fs/cgroup/unified")


def binary() -> Path:
    """The compiled load program; compiled on first use, kept by the source's digest."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "glasshive"
    path = cache / f"traffic-{digest}"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            ["clang", "-O2", "-pthread", "-o", str(fresh), str(_SOURCE)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CompileError("clang could not compile the benchmark's load program", done.stderr)
        fresh.replace(path)
    return path


@dataclass(frozen=True, slots=True)
class TrafficPath:
    """Two ends of a path: a client namespace, a server namespace and the server's address."""

    name: str
    client_netns: str  # path of the namespace
    server_netns: str
    address: str  # where the server listens, as the client dials it


class Load:
    """The servers of several paths and their clients, one cgroup per path so that CPU time can be charged."""

    def __init__(self, owner: str) -> None:
        self._cgroup = cgroup2_root() / f"glasshive-bench-{owner}-{os.getpid()}"
        self._servers: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        self._cgroup.mkdir()
        return self

    def __exit__(self, *exc: object) -> None:
        for server in self._servers.values():
            server.kill()
            server.wait()
        for folder in [*self._cgroup.glob("*/"), self._cgroup]:
            folder.rmdir()

    def _environment(self, path: TrafficPath, netns: str, cpu: int) -> dict[str, str]:
        place = {"TRAFFIC_CGROUP": str(self._cgroup / path.name), "TRAFFIC_NETNS": netns}
        return {"TRAFFIC_CPU": str(cpu % (os.cpu_count() or 1)), **place}

    def serve(self, path: TrafficPath) -> None:
        """Start the server of a path; returns when it listens."""
        (self._cgroup / path.name).mkdir()
        server = subprocess.Popen(
            [str(binary()), "serve", path.address, str(PORT)],
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment(path, path.server_netns, 1),
        )
        self._servers[path.name] = server
        assert server.stdout
        if server.stdout.readline() != "ready\n":
            raise ProcessError(f"the load server of path {path.name} did not start on {path.address}")

    def run(self, path: TrafficPath, mode: Mode, seconds: float, streams: int = 1) -> Sample:
        """One slice of load; value is Gbit/s for stream, operations/s for rr and crr."""
        before = self._cpu_seconds(path)
        done = subprocess.run(
            [str(binary()), mode, path.address, str(PORT), str(seconds), str(streams)],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(path, path.client_netns, 0),
            timeout=seconds + 20,
        )
        if done.returncode:
            raise ProcessError(f"{mode} on path {path.name} failed: {done.stderr.strip()}")
        said = json.loads(done.stdout)
        work = said["bytes"] * 8 / 1e9 if mode == "stream" else said["operations"]
        return Sample(work / said["seconds"], self._cpu_seconds(path) - before, work)

    def _cpu_seconds(self, path: TrafficPath) -> float:
        text = (self._cgroup / path.name / "cpu.stat").read_text(encoding="ascii")
        return int(text.split()[1]) / 1e6
