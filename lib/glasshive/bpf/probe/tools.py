"""Programs and Python modules from outside the package, and limits of the machine that change while it runs.

A tool counts only if it runs: Ubuntu, for one, installs a ``bpftool`` that refuses to work on another kernel. Its
answer is kept as long as the file it was found in does not change.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .finding import Answer, Finding

_SECONDS = 10.0
DEBIAN_PYTHON = Path("/usr/lib/python3/dist-packages")


@dataclass(frozen=True)
class Tool:
    """A program: where it is called for, and the argument list that shows it works."""

    name: str
    arguments: tuple[str, ...]


TOOLS = (
    Tool("clang", ()),  # tried by compiling, see _run_clang
    Tool("bpftool", ("version",)),
    Tool("ip", ("-V",)),
    Tool("tc", ("-V",)),
    Tool("tcpdump", ("--version",)),
    Tool("ping", ("-V",)),
    Tool("kubectl", ("version", "--client")),
    Tool("iperf3", ("--version",)),
    Tool("vng", ("--version",)),
    Tool("qemu-system-x86_64", ("--version",)),
    Tool("docker", ("version", "--format", "{{.Server.Version}}")),
    Tool("kind", ("version",)),
)


def find_program(name: str) -> str | None:
    """Give the path of a program: in the running Python's own folder first, then on PATH and the system's folders."""
    places = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return shutil.which(name, path=places)


def fingerprint(name: str) -> str:
    """Name the file a tool was found in and its state, so that an answer about it can be kept."""
    path = find_program(name)
    if path is None:
        return ""
    state = Path(path).stat()
    return f"{path} {state.st_mtime_ns} {state.st_size}"


def probe_tools(kept: Mapping[str, tuple[str, Finding]]) -> dict[str, tuple[str, Finding]]:
    """Try all tools at once; answers whose file has not changed since ``kept`` are taken from there."""
    marks = {tool.name: fingerprint(tool.name) for tool in TOOLS}
    results: dict[str, tuple[str, Finding]] = {}
    fresh: list[Tool] = []
    for tool in TOOLS:
        old = kept.get(tool.name)
        # A container engine may be started or stopped without its client's file changing: never kept.
        if old is not None and old[0] == marks[tool.name] and tool.name != "docker":
            results[tool.name] = old
        else:
            fresh.append(tool)
    with ThreadPoolExecutor(max_workers=2) as pool:  # two cores are what a lab machine has
        for tool, finding in zip(fresh, pool.map(_try, fresh), strict=True):
            results[tool.name] = (marks[tool.name], finding)
    return results


def _try(tool: Tool) -> Finding:
    started = time.perf_counter()
    path = find_program(tool.name)
    if path is None:
        return Finding(f"tool:{tool.name}", Answer.NOT, "not found in PATH")
    command = [path, *tool.arguments]
    try:
        answer, reason = _run_clang(path) if tool.name == "clang" else _run(command)
    except subprocess.TimeoutExpired:
        answer, reason = Answer.INCONCLUSIVE, f"{path} did not answer within {_SECONDS:.0f} s"
    except OSError as refusal:
        answer, reason = Answer.NOT, f"{path} cannot be run: {refusal.strerror}"
    return Finding(f"tool:{tool.name}", answer, reason, round(1000 * (time.perf_counter() - started), 1))


def _run(command: list[str]) -> tuple[Answer, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines() or [""]
    if done.returncode:
        return Answer.NOT, f"{command[0]} failed: {lines[-1][:120]}"
    return Answer.SUPPORTED, f"{lines[0][:80]} at {command[0]}"


def _run_clang(path: str) -> tuple[Answer, str]:
    """Compile a program of one line for the bpf target: some builds of clang come without it."""
    with tempfile.TemporaryDirectory(prefix="gh-probe-") as folder:
        source = Path(folder) / "one.bpf.c"
        source.write_text("int one(void *context) { return 0; }\n", encoding="ascii")
        command = [path, "-target", "bpf", "-O2", "-c", str(source), "-o", str(source.with_suffix(".o"))]
        answer, reason = _run(command)
    return (answer, f"compiles for the bpf target at {path}") if answer is Answer.SUPPORTED else (answer, reason)


def probe_modules() -> list[Finding]:
    """Try libbpf and bcc."""
    return [_libbpf(), _bcc()]


def _libbpf() -> Finding:
    try:
        library = ctypes.CDLL("libbpf.so.1")
    except OSError as absent:
        return Finding("lib:libbpf", Answer.NOT, str(absent))
    return Finding(
        "lib:libbpf", Answer.SUPPORTED, f"libbpf {library.libbpf_major_version()}.{library.libbpf_minor_version()}"
    )


def _bcc() -> Finding:
    """Find bcc's module and its library without importing it: the import alone takes 0.1 s."""
    if importlib.util.find_spec("bcc") is None and not (DEBIAN_PYTHON / "bcc").is_dir():
        return Finding("lib:bcc", Answer.NOT, f"no module bcc, neither installed nor in {DEBIAN_PYTHON}")
    if not any(Path(folder).glob("*/libbcc.so.0") for folder in ("/usr/lib", "/usr/lib64", "/lib")):
        return Finding("lib:bcc", Answer.NOT, "the module bcc is there, libbcc.so.0 is not")
    return Finding("lib:bcc", Answer.SUPPORTED, "module and library found")


# Limits -------------------------------------------------------------------------------------------------------------

_LIMITS: tuple[tuple[str, str, int, str], ...] = (
    ("limit:inotify_instances", "/proc/sys/fs/inotify/max_user_instances", 512, "kind nodes exhaust fewer"),
    ("limit:inotify_watches", "/proc/sys/fs/inotify/max_user_watches", 65536, "kind nodes exhaust fewer"),
    ("limit:pid_max", "/proc/sys/kernel/pid_max", 32768, "each pod is some processes"),
    ("limit:file_max", "/proc/sys/fs/file-max", 100_000, "each pod holds some open files"),
)
MEMORY_BYTES, DISK_BYTES = 2 << 30, 1 << 30


def probe_limits(read: Callable[[str], str] | None = None) -> list[Finding]:
    """Read limits that change while the machine runs. ``read`` gives a file's text (for tests)."""
    read = read or (lambda path: Path(path).read_text(encoding="ascii"))
    found = [_limit(*row, read) for row in _LIMITS]
    found.append(_memory(read))
    free = shutil.disk_usage(tempfile.gettempdir()).free
    answer = Answer.SUPPORTED if free >= DISK_BYTES else Answer.NOT
    found.append(Finding("limit:disk", answer, f"{free / 2**30:.1f} GiB free in {tempfile.gettempdir()}, 1 wanted"))
    return found


def _limit(capability: str, path: str, least: int, why: str, read: Callable[[str], str]) -> Finding:
    try:
        value = int(read(path))
    except (OSError, ValueError) as trouble:
        return Finding(capability, Answer.INCONCLUSIVE, f"{path} is not readable: {trouble}")
    enough = value >= least
    reason = f"{path} is {value}" + ("" if enough else f", {least} wanted: {why}")
    return Finding(capability, Answer.SUPPORTED if enough else Answer.NOT, reason)


def _memory(read: Callable[[str], str]) -> Finding:
    try:
        fields = dict(line.split(":", 1) for line in read("/proc/meminfo").splitlines() if ":" in line)
        available = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError) as trouble:
        return Finding("limit:memory", Answer.INCONCLUSIVE, f"/proc/meminfo is not understood: {trouble}")
    answer = Answer.SUPPORTED if available >= MEMORY_BYTES else Answer.NOT
    return Finding("limit:memory", answer, f"{available / 2**30:.1f} GiB available, {MEMORY_BYTES / 2**30:.0f} wanted")
