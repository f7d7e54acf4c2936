"""C in, running program out: bcc for teaching and ad-hoc tracing, also on hosts without kernel headers.

``run(source)`` compiles a C text, loads every function in it, attaches those whose name or macro says where
(``TRACEPOINT_PROBE``, ``RAW_TRACEPOINT_PROBE``, ``kprobe__f``, ``KFUNC_PROBE``, ``LSM_PROBE``), and gives a ``Running``
whose maps are tables. Complaints of compiler and verifier name the line of the text they are about. The notebook magic
``%%bpf`` is a thin layer over this (``glasshive.widgets.magic``); headers come from ``kernel_headers``; rows from
``bcc_tables``. This is the only importer of bcc.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib.util
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from glasshive.bpf import bcc_tables, kernel_headers, probe, syscall
from glasshive.bpf.bcc_source import Source
from glasshive.errors import (
    CapabilityError,
    CompileError,
    KernelError,
    NotFoundError,
    PermissionNeededError,
    VerifierError,
)

_TRACEFS = Path("/sys/kernel/tracing")
_stderr_lock = threading.Lock()
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Function:
    """One function of the text as it runs: its program type, its hook ('' if not attached) and its size."""

    name: str
    kind: str
    hook: str
    instructions: int
    fd: int


def bcc_module() -> ModuleType:
    """Import bcc from this environment or from where Debian and Ubuntu install it; needs no set-up of paths.

    Raises CapabilityError where it is not installed.
    """
    # libbcc asks for the headers each time it compiles, so they are named also for who has imported bcc without us.
    if "BCC_KERNEL_SOURCE" not in os.environ and kernel_headers.installed_headers() is None:
        os.environ["BCC_KERNEL_SOURCE"] = str(kernel_headers.ensure_tree())
    if "bcc" in sys.modules:
        return sys.modules["bcc"]
    _ensure_tracefs()  # before the import: bcc looks for it then
    try:
        module = _import_bcc()
    except (ImportError, OSError) as absent:
        sys.modules.pop("bcc", None)
        raise CapabilityError(f"bcc is not usable: {absent}", hint=probe.mend.advice("lib:bcc")) from absent
    return module


def _import_bcc() -> ModuleType:
    spec = importlib.util.find_spec("bcc")
    if spec is None:
        folder = probe.tools.DEBIAN_PYTHON / "bcc"
        place = folder / "__init__.py"
        spec = importlib.util.spec_from_file_location("bcc", place, submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise ImportError("no module bcc")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    spec.loader.exec_module(module)
    return module


def _ensure_tracefs() -> None:
    """Mount tracefs where it is missing; what needs no tracepoints works without it."""
    if not (_TRACEFS / "events").exists() and syscall.has_capabilities(syscall.CAP_SYS_ADMIN):
        _libc.mount(b"tracefs", os.fsencode(_TRACEFS), b"tracefs", ctypes.c_ulong(0), None)


def run(source: str, *, name: str = "bpf", first_line: int = 1) -> Running:
    """Compile, load and attach a C text; ``first_line`` is the number of its first line where the reader sees it.

    Raises CompileError or VerifierError with the line in question, CapabilityError for a hook this kernel lacks.
    """
    if not syscall.has_capabilities(syscall.CAP_SYS_ADMIN):
        raise PermissionNeededError("loading BPF programs needs root", hint="start the notebook with: make lab")
    text = Source(source, first_line)
    for need, what in text.needs():
        probe.require(need, what=what)
    module = bcc_module()
    tree = os.environ.get("BCC_KERNEL_SOURCE")
    if tree is not None:
        kernel_headers.add_stubs(Path(tree), source)
    return Running(module, text, name)


class Running:
    """A loaded text. Close it (or leave its ``with`` block) to detach and unload everything."""

    def __init__(self, module: ModuleType, source: Source, name: str) -> None:
        self.name = name
        self.source = source.text
        self._module = module
        self._bpf = module.BPF.__new__(module.BPF)
        # Set before bcc's own constructor, so that cleaning up after its failure finds them.
        for table in ("funcs", "tables"):
            setattr(self._bpf, table, {})
        self._bpf.module = None
        self._queues: dict[str, bcc_tables.Queue] = {}
        try:
            with _captured_stderr() as complaints:
                self._load(source)
        except Exception as trouble:  # noqa: BLE001 - bcc raises nothing else
            self.close()
            raise _translate(trouble, complaints.text, source) from None
        atexit.register(self.close)  # after bcc's own, so it runs before it: bcc's way is noisy and incomplete
        self.messages = source.unmark(complaints.text)
        for table in self.maps:
            self._open_queue(table)

    def _load(self, source: Source) -> None:
        self._bpf.__init__(text=source.marked.encode())
        lib = self._module.lib
        loaded = {bytes(one) for one in self._bpf.funcs}
        for number in range(lib.bpf_num_functions(self._bpf.module)):
            function = bytes(lib.bpf_function_name(self._bpf.module, number))
            if function not in loaded:
                # Not attached by its name: load it all the same, so that the verifier speaks now.
                kind = source.kind_of(function.decode())
                self._bpf.load_func(function, getattr(self._module.BPF, kind.upper()))

    @property
    def functions(self) -> list[Function]:
        """Everything that was loaded, in the order of the text."""
        self._must_be_open()
        lib = self._module.lib
        found = []
        for number in range(lib.bpf_num_functions(self._bpf.module)):
            raw = bytes(lib.bpf_function_name(self._bpf.module, number))
            kind, hook = _hook(raw.decode())
            kind = kind or Source(self.source, 1).kind_of(raw.decode())
            fd = self._bpf.funcs[raw].fd if raw in self._bpf.funcs else -1
            found.append(Function(raw.decode(), kind, hook, lib.bpf_function_size(self._bpf.module, raw) // 8, fd))
        return found

    def function(self, name: str) -> Function:
        """Give one loaded function."""
        for one in self.functions:
            if one.name == name or (one.hook and one.hook.split(":")[-1] == name):
                return one
        raise NotFoundError(f"the text has no function {name!r}", hint=", ".join(one.name for one in self.functions))

    @property
    def maps(self) -> dict[str, str]:
        """Map names and their types, in the order of the text."""
        self._must_be_open()
        return bcc_tables.types(self._module.lib, self._bpf.module)

    def table(self, name: str) -> Any:
        """Give bcc's own table object of a map, for what is not wrapped here."""
        if name not in self.maps:
            raise NotFoundError(f"the text has no map {name!r}", hint=", ".join(self.maps) or "it has no maps")
        return self._bpf[name.encode()]

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Give a map's entries as flat dictionaries; per-CPU values as one column for each CPU and their sum."""
        return bcc_tables.rows(self.table(name), self.maps[name])

    def frame(self, name: str) -> Any:
        """Give a map's entries, or the events that a ring or perf map has sent so far, as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.events(name) if name in self._queues else self.rows(name))

    def events(self, name: str, *, wait_ms: int = 0) -> list[dict[str, Any]]:
        """Give the latest events (10,000 at most) of a ring or perf map, oldest first; waits for the first if asked."""
        if name not in self._queues:
            raise NotFoundError(
                f"{name!r} is not a ring buffer or perf map", hint=", ".join(self._queues) or "there is none"
            )
        self._queues[name].poll(wait_ms)
        return list(self._queues[name].events)

    def clear(self, name: str) -> None:
        """Delete a map's entries; forget a queue's events."""
        if name in self._queues:
            self._queues[name].poll(0)
            self._queues[name].events.clear()
        else:
            self.table(name).clear()

    def instructions(self, function: str) -> str:
        """Give a function's BPF instructions as text, before the kernel's own rewriting."""
        return str(self._bpf.disassemble_func(self.function(function).name.encode()))

    def _open_queue(self, name: str) -> None:
        if self.maps[name] in {"ringbuf", "perf_event_array"}:
            with contextlib.suppress(bcc_tables.NotTyped):
                self._queues[name] = bcc_tables.Queue(self._bpf, self.table(name), self.maps[name])

    def _must_be_open(self) -> None:
        if self._bpf.module is None:
            raise NotFoundError(f"{self.name} has been unloaded", hint="run its cell again")

    @property
    def closed(self) -> bool:
        """Whether everything has been unloaded."""
        return self._bpf.module is None

    def close(self) -> None:
        """Detach and unload everything; closing twice is harmless."""
        atexit.unregister(self._bpf.cleanup)
        atexit.unregister(self.close)
        if self._bpf.module is None:
            return
        for queue in self._queues.values():
            queue.close()
        self._queues.clear()
        # bcc takes the detaching of an already gone hook for an error; there is nothing left to do about it then.
        with contextlib.suppress(Exception), _captured_stderr():
            self._bpf.cleanup()
        self._bpf.module = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return f"{self.name}: unloaded"
        lines = [f"{self.name}: loaded"]
        for one in self.functions:
            where = f"attached to {one.hook}" if one.hook else "loaded, not attached"
            lines.append(f"  program {one.name} ({one.kind}): {where}, {one.instructions} instructions")
        lines += [f"  map {name} ({kind})" for name, kind in self.maps.items()]
        return "\n".join(lines)


_PREFIXES = {
    "kprobe__": "kprobe", "kretprobe__": "kprobe", "tracepoint__": "tracepoint", "raw_tracepoint__": "raw_tracepoint",
    "kfunc__": "tracing", "kretfunc__": "tracing", "lsm__": "lsm",
}  # fmt: skip


def _hook(function: str) -> tuple[str, str]:
    """Read program type and hook off a function's name, as bcc does; ('', '') if it names none."""
    for prefix, kind in _PREFIXES.items():
        if function.startswith(prefix):
            return kind, function.removeprefix(prefix).replace("__", ":", 1)
    return "", ""


@dataclass
class _Captured:
    text: str = ""


@contextlib.contextmanager
def _captured_stderr() -> Iterator[_Captured]:
    """Collect what libbcc writes to file descriptor 2, which no Python redirection sees."""
    captured = _Captured()
    with _stderr_lock, tempfile.TemporaryFile() as scratch:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(scratch.fileno(), 2)
        try:
            yield captured
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            scratch.seek(0)
            captured.text = scratch.read().decode("utf-8", "replace")


_FAILED = re.compile(r"Failed to (load|attach) BPF(?: program)? (?:b?'?)([\w.]+)")


def _translate(trouble: Exception, log: str, source: Source) -> Exception:
    """Turn bcc's bare exception and the log into one error that names the line."""
    said = str(trouble)
    if "Failed to compile" in said:
        return CompileError(source.compiler_complaint(log), source.unmark(log))
    found = _FAILED.search(said)
    program = found[2] if found else "?"
    if "processed " in log or (found and found[1] == "load"):
        return VerifierError(program, source.verifier_complaint(log), source.unmark(log))
    if "super-user" in said:
        return PermissionNeededError("the kernel refused to load a program", hint="root is needed, and no lockdown")
    last = [line for line in source.unmark(log).strip().splitlines() if line][-1:]
    return KernelError(f"bcc could not set the program up: {'; '.join([said, *last])}")
