"""C text in, BPF object out: clang with the flags of ``bpf/Makefile``, for programs that are written in a notebook.

The compiler is started with a list of arguments and reads a file; nothing of the text reaches a command line.
Complaints name the line of that file. What was compiled is opened with ``ObjectSpec`` and loaded like any other object.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

from glasshive.errors import CapabilityError, CompileError, DeadlineError

_SECONDS = 45.0
_DIAGNOSTIC = re.compile(
    r"^(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): (?:fatal )?error: (?P<text>.*)$", re.MULTILINE
)
_FLAGS = (
    "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-std=gnu11", "-Wall", "-Wno-unused-function", "-Wno-unused-variable",
    "-Wno-missing-declarations", "-fno-caret-diagnostics", "-fno-color-diagnostics",
)  # fmt: skip
_ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64", "s390x": "s390", "ppc64le": "powerpc", "riscv64": "riscv"}


def compile_object(source: Path, target: Path, include: Path) -> None:
    """Compile one C file into a BPF object; ``include`` is the folder that ``#include "..."`` starts from.

    ``target`` appears whole or not at all. Raises CompileError with the line in question, CapabilityError where clang
    is missing.
    """
    clang = shutil.which("clang")
    if clang is None:
        raise CapabilityError("compiling BPF programs needs clang", hint="apt-get install clang llvm libbpf-dev")
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    part = target.with_name(target.name + ".part")
    command = [clang, *_FLAGS, f"-D__TARGET_ARCH_{architecture}", f"-I{include}", *_system_headers()]
    try:
        done = subprocess.run(
            [*command, "-c", str(source), "-o", str(part)],
            capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DeadlineError(f"compiling {source.name} took longer than {_SECONDS:g} s") from None
    if done.returncode:
        part.unlink(missing_ok=True)
        raise CompileError(complaint(source, done.stderr), done.stderr)
    part.replace(target)


def complaint(source: Path, log: str) -> str:
    """Say what the compiler's first error is, where, and show the line with a caret below the place."""
    found = _DIAGNOSTIC.search(log)
    if found is None:
        first = next((line for line in log.splitlines() if "error" in line), "no reason given")
        return f"the C text does not compile: {first.strip()}"
    if Path(found["file"]) != source:
        return f"{Path(found['file']).name}, line {found['line']}: {found['text']}"
    message = f"line {found['line']}: {found['text']}"
    lines = source.read_text(encoding="utf-8").splitlines()
    at = int(found["line"]) - 1
    if not 0 <= at < len(lines):
        return message
    return f"{message}\n  {lines[at].replace(chr(9), ' ')}\n  {' ' * (int(found['column']) - 1)}^"


def _system_headers() -> list[str]:
    """Where <asm/*.h> and <linux/*.h> are: Debian and Ubuntu keep the first in a folder for each architecture."""
    folders = [one.parent for one in sorted(Path("/usr/include").glob("*-linux-gnu*/asm"))]
    return [f"-idirafter{one}" for one in (*folders, Path("/usr/include"))]
