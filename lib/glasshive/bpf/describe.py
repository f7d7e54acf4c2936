"""From what was loaded, or refused, to the text that people read (``model.program_text``): CO-RE objects and bcc cells.

Both become the same value, so that one view shows both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from glasshive.bpf import listing, verifier, walk
from glasshive.errors import CompileError, VerifierError
from glasshive.model.program_text import Function, Instruction, MapFacts, ProgramText, Refused

if TYPE_CHECKING:
    from glasshive.bpf.bcc import Running
    from glasshive.bpf.object import LoadedObject, ObjectSpec

_LINE = re.compile(r"\bline (\d+): ")
_PLACE = re.compile(r":(\d+)$")


def loaded_object(loaded: LoadedObject, source: Path, place: str) -> ProgramText:
    """Describe a loaded object: instructions as they run, and the verifier's walk, which takes loading it again."""
    lines = tuple(source.read_text(encoding="utf-8").splitlines())
    logs = walk.logs(loaded.spec)
    functions = []
    for name, program in loaded.programs.items():
        log = logs.get(name, "")
        functions.append(
            Function(
                name,
                program.type.name.lower(),
                program.section,
                listing.translated(program.id),
                walk.steps(log, lines),
                walk.statistics(log),
                log,
            )
        )
    return ProgramText(loaded.spec.name, place, lines, 1, tuple(functions), _maps(loaded.spec))


def refused_object(spec: ObjectSpec, error: VerifierError, source: Path, place: str) -> ProgramText:
    """Describe an object that the verifier refused: how far it came, and the line at which it stopped."""
    lines = tuple(source.read_text(encoding="utf-8").splitlines())
    why = verifier.reason(error.log)
    at = _PLACE.search(why.place)
    line = int(at[1]) if at else walk.find_line(lines, why.source)
    refused = Refused("verifier", why.message, line, why.instruction, error.log)
    stopped = [one for one in spec.programs.values() if one.name == error.program] or list(spec.programs.values())[:1]
    functions = tuple(
        Function(one.name, one.type.name.lower(), one.section, (), walk.steps(error.log, lines),
                 walk.statistics(error.log), error.log)
        for one in stopped
    )  # fmt: skip
    return ProgramText(spec.name, place, lines, 1, functions, _maps(spec), refused)


def running_cell(running: Running, first_line: int) -> ProgramText:
    """Describe what a ``%%bpf`` cell runs. Nobody asked for the walk of what was accepted."""
    from glasshive.bpf.bcc_source import Source
    from glasshive.bpf.map import read_info as map_info
    from glasshive.bpf.program import read_info

    source = Source(running.source, first_line)
    functions = []
    for one in running.functions:
        translated: tuple[Instruction, ...] = ()
        if one.fd >= 0:
            translated = listing.translated(read_info(one.fd, with_maps=False).id, source.marked_line)
        functions.append(Function(one.name, one.kind, one.hook, translated))
    maps = []
    for name, kind in running.maps.items():
        info = map_info(int(running.table(name).map_fd))
        maps.append(MapFacts(name, kind, info.key_size, info.value_size, info.max_entries))
    lines = tuple(running.source.splitlines())
    return ProgramText(running.name, "this cell", lines, first_line, tuple(functions), tuple(maps))


def refused_cell(name: str, source: str, error: CompileError | VerifierError, first_line: int) -> ProgramText:
    """Describe a ``%%bpf`` cell that compiler or verifier refused."""
    by, why = ("verifier", error.summary) if isinstance(error, VerifierError) else ("compiler", error.message)
    found = _LINE.search(why)
    lines = tuple(source.splitlines())
    functions = []
    if isinstance(error, VerifierError):
        steps = walk.steps(error.log, lines, first_line)
        functions = [Function(name, "", "", (), steps, walk.statistics(error.log), error.log)]
    refused = Refused(by, why.splitlines()[0], int(found[1]) if found else 0, "", error.log)
    return ProgramText(name, "this cell", lines, first_line, tuple(functions), (), refused)


def _maps(spec: ObjectSpec) -> tuple[MapFacts, ...]:
    return tuple(
        MapFacts(one.name, one.type.name.lower(), one.key_size, one.value_size, one.max_entries)
        for one in spec.maps.values()
        if not one.internal
    )
