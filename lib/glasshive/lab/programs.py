"""``lab.program("count_ports")``: a teaching program of ``bpf/labs`` in the kernel, to look at and to send packets to.

In a notebook::

    count = lab.program("count_ports")     # loads bpf/build/count_ports.bpf.o
    count                                  # the view: source lines, instructions, the verifier's walk, maps
    count.send(packet)                     # BPF_PROG_TEST_RUN: .retval, .data_out, no device needed
    count.map("ports")                     # the map's entries, as a table
    count.rows("ports")                    # the same as dictionaries
    count["count_ports"]                   # the glasshive.bpf.Program itself, to attach: bpf.link.tcx(...)
    count.listing()                        # the whole view as text

A program that the verifier refuses is a value too, as it is the lesson: ``count.refused`` is true, its view shows the
line that matters and the log, and everything else says that nothing is loaded. ``lab.reset()`` unloads.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from glasshive.bpf import LoadedObject, ObjectSpec, Program, TestRun, describe, skb_context
from glasshive.errors import CompileError, NotFoundError, UsageError, VerifierError
from glasshive.lab.manifest import labs_folder
from glasshive.maps.render import rows_of

if TYPE_CHECKING:
    from glasshive.model.program_text import ProgramText
    from glasshive.widgets import MapTable, ProgramView

_BUILD_SECONDS = 60.0


class TeachingProgram:
    """One object of ``bpf/labs``, loaded or refused. Close it, or leave its ``with`` block, to unload."""

    def __init__(self, name: str, spec: ObjectSpec, source: Path) -> None:
        self.name = name
        place = f"bpf/labs/{source.name}"
        self._loaded: LoadedObject | None = None
        try:
            self._loaded = spec.load()
        except VerifierError as error:
            self.shown: ProgramText = describe.refused_object(spec, error, source, place)
        else:
            self.shown = describe.loaded_object(self._loaded, source, place)
        self._view: ProgramView | None = None

    @classmethod
    def open(cls, name: str, labs: Path | None = None) -> Self:
        """Build (if the source is newer) and load ``bpf/labs/<name>.bpf.c``; an unknown name lists those there are."""
        folder = (labs or labs_folder()).parent / "bpf"
        source = folder / "labs" / f"{name}.bpf.c"
        if not source.is_file():
            known = sorted(one.name.removesuffix(".bpf.c") for one in (folder / "labs").glob("*.bpf.c"))
            raise NotFoundError(f"there is no teaching program {name!r}", hint=", ".join(known))
        made = subprocess.run(
            ["make", "-s", "-C", str(folder), f"build/{name}.bpf.o"],
            capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False,
        )  # fmt: skip
        if made.returncode:
            first = next((line for line in made.stderr.splitlines() if "error:" in line), made.stderr.strip())
            raise CompileError(f"bpf/labs/{name}.bpf.c does not compile: {first}", made.stderr)
        return cls(name, ObjectSpec.open(folder / "build" / f"{name}.bpf.o"), source)

    @property
    def refused(self) -> bool:
        """Whether the verifier refused it."""
        return self.shown.refused is not None

    @property
    def view(self) -> ProgramView:
        """The view; the same one each time, so that what was chosen in it stays."""
        if self._view is None:
            from glasshive.widgets import ProgramView

            self._view = ProgramView(self.shown)
        return self._view

    def __getitem__(self, program: str) -> Program:
        programs = self._in_kernel().programs
        if program not in programs:
            raise NotFoundError(f"{self.name} has no program {program!r}", hint=", ".join(programs))
        return programs[program]

    def send(self, packet: bytes, *, program: str = "", **context: int) -> TestRun:
        """Run the program on a packet, without any device; ``context`` are fields of its ``__sk_buff``.

        ``program`` may be left out when the object has only one.
        """
        names = list(self._in_kernel().programs)
        if not program and len(names) > 1:
            raise UsageError(f"{self.name} has {len(names)} programs", hint=f"program= one of {', '.join(names)}")
        chosen = self[program or names[0]]
        return chosen.test_run(packet, skb_context(**context) if context else None)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Give a map's entries."""
        maps = self._in_kernel().maps
        if name not in maps:
            raise NotFoundError(f"{self.name} has no map {name!r}", hint=", ".join(maps))
        return sorted(rows_of(maps[name]), key=lambda row: [str(value) for value in row.values()])

    def map(self, name: str) -> MapTable:
        """Show a map's entries as a table."""
        from glasshive.widgets import MapTable

        return MapTable(f"{name} of {self.name}", self.rows(name))

    def listing(self, program: str = "") -> str:
        """Give source and instructions as text."""
        from glasshive.widgets.program_view import listing

        return listing(self.shown, program)

    def _in_kernel(self) -> LoadedObject:
        if self._loaded is None:
            why = "was refused by the verifier" if self.refused else "has been unloaded"
            raise NotFoundError(f"{self.name} {why}: nothing of it is in the kernel", hint="look at its view")
        return self._loaded

    def rest(self) -> None:
        """Unload it; its view stays, as that of anything else in a notebook."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    def close(self) -> None:
        """Unload it, unless a link or a pin holds it; closing twice is harmless."""
        self.rest()
        if self._view is not None:
            self._view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        from glasshive.widgets.program_view import text

        return text(self.shown)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)
