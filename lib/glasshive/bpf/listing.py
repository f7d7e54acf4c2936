"""What the kernel runs, instruction by instruction: a loaded program's translated code beside its source lines.

bpftool reads and disassembles it; line numbers are those that the compiler left in the object's BTF.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any, TypeAlias

from glasshive.errors import BpfError, CapabilityError
from glasshive.model.program_text import Instruction

LineOf: TypeAlias = Callable[[str], int]
_SECONDS = 45.0  # a moment on a quiet machine; this one may have forty others to run


def translated(program_id: int, line_of: LineOf | None = None) -> tuple[Instruction, ...]:
    """List a loaded program's instructions after the kernel's own rewriting, with the source line of each.

    An instruction without a line of its own belongs to the line before it. ``line_of`` reads the line off a source
    text, for programs that were compiled from another text than the reader's. Raises CapabilityError without bpftool,
    BpfError when the program is gone.
    """
    tool = shutil.which("bpftool", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if tool is None:
        raise CapabilityError("listing instructions needs bpftool", hint="apt-get install bpftool")
    command = [tool, "-j", "prog", "dump", "xlated", "id", str(program_id), "linum"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise BpfError(f"bpftool could not list program {program_id}: {(done.stderr or done.stdout).strip()}")
    return read(json.loads(done.stdout), line_of)


def read(rows: list[dict[str, Any]], line_of: LineOf | None = None) -> tuple[Instruction, ...]:
    """Read bpftool's JSON. A 64-bit load takes two places, so that numbers are those that jumps count by."""
    found: list[Instruction] = []
    number = line = 0
    for row in rows:
        text = row.get("disasm")
        if "line_num" in row:
            line = (line_of(str(row.get("src", ""))) if line_of else int(row["line_num"])) or line
        if text is None:
            continue
        code, _, words = str(text).strip().partition(" ")
        found.append(Instruction(number, words if code.startswith("(") else str(text).strip(), line))
        number += 2 if code == "(18)" else 1
    return tuple(found)
