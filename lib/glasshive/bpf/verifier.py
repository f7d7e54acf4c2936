"""Finding the line that matters in a verifier log.

The log tells the whole walk of the verifier; the reason is the last message before the statistics, the instruction and
the source line it belongs to stand above it::

    ; return ip->ttl; @ lesson.bpf.c:14
    5: (71) r0 = *(u8 *)(r1 +22)
    invalid access to packet, off=22 size=1, R1(id=0,off=22,r=0)
    R1 offset is outside of the packet
    processed 6 insns (limit 1000000) ...
"""

from __future__ import annotations

import re
from typing import NamedTuple

_INSTRUCTION = re.compile(r"^\s*(\d+): \([0-9a-f]{2}\) (.*?)(?:\s*;.*)?$")
_STATE = re.compile(
    r"^\s*(?:\d+: )?"
    r"(?:R\d+(?:_\w+)?=|from \d+ to \d+|frame\d+:|\d+:\s*$|last_idx|(?:cur|old) state:|regs=|mark_precise|parent )"
)
_STATISTICS = re.compile(
    r"^(processed \d+ insns|verification time|stack depth|-- (BEGIN|END)|max_states_per_insn|\s*$|prog '|libbpf:)"
)
_BUILT_IN = re.compile(r"^(arg#\d+ |Caller passes|Func#|Validating |func#\d+ @|Live regs|func '.*' has)")
_FAILED_PROGRAM = re.compile(r"prog '([^']+)': (?:BPF program load failed|failed to load)")


class Reason(NamedTuple):
    """Why the verifier refused: its message, the instruction (number and text), the C line and its place."""

    message: str
    instruction: str
    source: str
    place: str

    def __str__(self) -> str:
        text = self.message
        if self.instruction:
            text += f" at instruction {self.instruction}"
        if self.source:
            text += f", source line: {self.source}"
        return f"{text} ({self.place})" if self.place else text


def reason(log: str) -> Reason:
    """Read the reason out of a log. An empty log gives an empty reason."""
    lines = log.splitlines()
    at = _last_message(lines)
    if at is None:
        return Reason("", "", "", "")
    messages = [lines[at].strip()]
    # The verifier often explains itself in two lines: take both, the more telling one first as it was printed.
    if at > 0 and _is_message(lines[at - 1]):
        messages.insert(0, lines[at - 1].strip())
    instruction = source = place = ""
    for line in reversed(lines[:at]):
        found = _INSTRUCTION.match(line)
        if found and not instruction:
            instruction = f"{found[1]}: {found[2].strip()}"
        elif line.startswith("; ") and not source:
            source, _, place = line[2:].strip().partition(" @ ")
            break
    return Reason("; ".join(messages), instruction, source, place)


def failed_program(messages: list[str]) -> str | None:
    """Name of the program that libbpf could not load, from its warnings."""
    for message in messages:
        found = _FAILED_PROGRAM.search(message)
        if found:
            return found[1]
    return None


def verifier_log(messages: list[str]) -> str:
    """Cut the verifier's log out of libbpf's warnings; empty when there is none."""
    text = "".join(messages)
    _, begin, rest = text.partition("-- BEGIN PROG LOAD LOG --\n")
    if not begin:
        return ""
    return rest.partition("-- END PROG LOAD LOG --")[0]


def _is_message(line: str) -> bool:
    patterns = (_INSTRUCTION, _STATE, _STATISTICS, _BUILT_IN)
    return not line.startswith(";") and not any(pattern.match(line) for pattern in patterns)


def _last_message(lines: list[str]) -> int | None:
    for at in range(len(lines) - 1, -1, -1):
        if _is_message(lines[at]):
            return at
    return None
