"""What the verifier did with a program that it accepted: every instruction it walked, and what it knew there.

The kernel tells it only when it is asked for at loading time, so the object is loaded a second time and let go.
"""

from __future__ import annotations

import ctypes
import errno
import re

from glasshive.bpf import libbpf
from glasshive.bpf.object import ObjectSpec
from glasshive.errors import BpfError
from glasshive.model.program_text import Instruction

_BYTES = 4 << 20
_STATISTICS, _EVERY_STEP = 4, 2  # BPF_LOG_STATS, BPF_LOG_LEVEL2 of include/linux/bpf_verifier.h
_STEP = re.compile(r"^\s*(\d+): \([0-9a-f]{2}\) (.*?)(?:\s+; (.*))?$")
_SOURCE = re.compile(r"^; (.*?)(?: @ ([^ @]+):(\d+))?$")
_PROCESSED = re.compile(r"processed (\d+) insns \(limit (\d+)\)")
_COUNT = re.compile(r"\b(max_states_per_insn|total_states|peak_states|mark_read) (\d+)")


def logs(spec: ObjectSpec) -> dict[str, str]:
    """Give the verifier's log of each program of an object that the kernel accepts.

    A log that does not fit into 4 MiB is asked for again with its statistics only. Raises what ``spec.load`` raises.
    """
    try:
        return _logs(spec, _EVERY_STEP | _STATISTICS)
    except BpfError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _logs(spec, _STATISTICS)


def _logs(spec: ObjectSpec, level: int) -> dict[str, str]:
    buffers: dict[str, ctypes.Array[ctypes.c_char]] = {}

    def listen(name: str, program: int) -> None:
        buffers[name] = ctypes.create_string_buffer(_BYTES)
        libbpf.library().bpf_program__set_log_level(program, level)
        libbpf.library().bpf_program__set_log_buf(program, buffers[name], _BYTES)

    spec.load(listen=listen).close()
    return {name: buffer.value.decode(errors="replace") for name, buffer in buffers.items()}


def steps(log: str, source: tuple[str, ...] = (), first_line: int = 1) -> tuple[Instruction, ...]:
    """Read the walk out of a log: number, text, source line and state of each step.

    Kernels before 6.9 print the source line without its number: then it is looked for in ``source``.
    """
    found: list[Instruction] = []
    line = 0
    for row in log.splitlines():
        step, remark = _STEP.match(row), _SOURCE.match(row)
        if step:
            found.append(Instruction(int(step[1]), step[2].strip(), line, (step[3] or "").strip()))
        elif remark:
            at = int(remark[3]) if remark[3] else find_line(source, remark[1], first_line)
            line = at or line  # code that the compiler made up belongs to what stands before it
    return tuple(found)


def find_line(source: tuple[str, ...], text: str, first_line: int = 1) -> int:
    """Find the first source line that reads so, indentation aside; 0 if there is none."""
    wanted = text.strip()
    return next((at for at, line in enumerate(source, first_line) if wanted and line.strip() == wanted), 0)


def statistics(log: str) -> dict[str, int]:
    """Read the numbers at the end of a log: instructions walked and the limit, states kept at most and in all."""
    found: dict[str, int] = {}
    processed = _PROCESSED.search(log)
    if processed:
        found = {"walked": int(processed[1]), "limit": int(processed[2])}
    return found | {name: int(value) for name, value in _COUNT.findall(log)}
