"""A BPF program as people read it: its source, its instructions, what the verifier did with them, and its maps."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. ``line`` is the source line it was made from, 0 if nobody knows.

    ``state`` is what the verifier knew when it had walked it ('' in a listing of what runs).
    """

    number: int
    text: str
    line: int = 0
    state: str = ""


@dataclass(frozen=True, slots=True)
class MapFacts:
    """A map that a program uses; sizes in bytes, 0 where the map has no keys."""

    name: str
    type: str
    key_bytes: int
    value_bytes: int
    entries: int


@dataclass(frozen=True, slots=True)
class Function:
    """One program of a text: ``kind`` is its program type, ``hook`` its section or where it is attached.

    ``translated``: the instructions as the kernel runs them; empty when it was refused.
    ``walk``: what the verifier walked, in its order; an instruction stands there once for each path through it.
    """

    name: str
    kind: str
    hook: str = ""
    translated: tuple[Instruction, ...] = ()
    walk: tuple[Instruction, ...] = ()
    statistics: dict[str, int] = field(default_factory=dict)
    log: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Who refused a text and why: ``line`` is the source line that matters, 0 if nobody knows."""

    by: str
    why: str
    line: int = 0
    instruction: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class ProgramText:
    """A text of C and what became of it. ``first_line`` is the number of its first line where the reader sees it."""

    name: str
    place: str
    source: tuple[str, ...]
    first_line: int = 1
    functions: tuple[Function, ...] = ()
    maps: tuple[MapFacts, ...] = ()
    refused: Refused | None = None

    def line(self, number: int) -> str:
        """Give a source line by its number, '' beyond the text."""
        at = number - self.first_line
        return self.source[at] if 0 <= at < len(self.source) else ""
