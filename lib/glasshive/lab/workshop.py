"""Where a lab's own BPF programs are made: C text -> object -> loaded -> pinned, each step visible, all of it named.

``%%bpf --object NAME`` in a notebook ends here::

    lab.workshop.write("ttl", text)        # compiled by clang, loaded with few capabilities, pinned
    lab.workshop.program("ttl")            # the same again, found by its pins
    ttl.run(udp(ttl=1))                    # a packet through it, no device needed
    ttl.attach("web", "tcx ingress")       # a pod of the lab, or a place of its wire
    lab.workshop.clear()                   # what lab.reset() does

The text and the object lie in ``/run/glasshive/<cluster>/labs/<lab>/``, the pins as ``pinned`` says; both go with the
cluster too. A program that is refused leaves nothing, and the one that had its name before is gone by then.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glasshive.bpf import LoadedObject, ObjectSpec, Program, describe, link, syscall, verifier
from glasshive.bpf.compile import compile_object
from glasshive.bpf.privilege import LEAST, with_only
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import KernelError, NotFoundError, UsageError, VerifierError
from glasshive.lab.manifest import labs_folder
from glasshive.lab.pinned import Pinned, folder_of
from glasshive.net import netns
from glasshive.net.links import Links

if TYPE_CHECKING:
    from glasshive.model.program_text import ProgramText
    from glasshive.widgets import MapTable

Hook = Literal["xdp", "xdp generic", "tcx ingress", "tcx egress"]
Place = tuple[Path, str]
"""A network namespace and a device in it."""
_HOOKS = ("xdp", "xdp generic", "tcx ingress", "tcx egress")
_GENERIC = 2  # XDP_FLAGS_SKB_MODE
_NAME = re.compile(r"[a-z][a-z0-9_]{0,14}")
_LINE = re.compile(r":(\d+)$")


class Workshop:
    """The programs of one lab. ``find`` gives the namespace and device that a place's name stands for."""

    def __init__(self, cluster: str, namespace: str, find: Callable[[str], Place]) -> None:
        self.pins = folder_of(cluster, namespace)
        self.folder = ClusterPaths(cluster).run / "labs" / namespace
        self._find = find

    def write(self, name: str, text: str, *, first_line: int = 1) -> LabProgram:
        """Compile, load and pin a text; ``first_line`` is the number of its first line where the reader sees it.

        What had this name before is detached and unloaded first. Raises CompileError or VerifierError with the line.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name for a program", hint="a-z, 0-9 and _, at most 15, a letter first")
        self.remove(name)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        source, target = (self.folder / f"{name}.bpf.{ending}" for ending in "co")
        source.write_text("\n" * (first_line - 1) + text, encoding="utf-8")
        compile_object(source, target, labs_folder().parent / "bpf")
        spec = ObjectSpec.open(target)
        with load(spec, source) as loaded:
            self._pin(name, loaded)
        return self.program(name)

    def program(self, name: str) -> LabProgram:
        """Find a program that was written. NotFoundError when there is none."""
        found = self._named(name)
        if not found.loaded:
            raise NotFoundError(f"no program {name} is loaded", hint="run the cell that writes it")
        return found

    def names(self) -> list[str]:
        """Names of what is loaded."""
        return sorted(one.name for one in self.pins.iterdir()) if self.pins.is_dir() else []

    def remove(self, name: str) -> None:
        """Detach and unload what has this name. Harmless when there is nothing."""
        self._named(name).close()

    def clear(self) -> None:
        """Detach and unload everything, and remove the texts."""
        for name in self.names():
            self.remove(name)
        for folder in (self.pins, self.folder):
            if folder.is_dir():
                shutil.rmtree(folder)
            with contextlib.suppress(OSError):  # other labs' programs are still there
                folder.parent.rmdir()

    def _named(self, name: str) -> LabProgram:
        return LabProgram(self.pins / name, self.folder / name, self._find)

    def _pin(self, name: str, loaded: LoadedObject) -> None:
        folder = self.pins / name
        try:
            (folder / "programs").mkdir(mode=0o700, parents=True)
            loaded.pin_maps(folder / "maps")
            for each, program in loaded.programs.items():
                program.pin(folder / "programs" / each)
        except (OSError, KernelError):
            shutil.rmtree(folder, ignore_errors=True)
            raise


def load(spec: ObjectSpec, source: Path) -> LoadedObject:
    """Load an object with few capabilities; a refusal names the line of its source."""
    try:
        return with_only(LEAST, spec.load)
    except VerifierError as error:
        refused = VerifierError(error.program, _complaint(error, source), error.log)
        refused.errno = error.errno
        raise refused from None


def _complaint(error: VerifierError, source: Path) -> str:
    why = verifier.reason(error.log)
    text = why.message + (f" at instruction {why.instruction}" if why.instruction else "")
    at = _LINE.search(why.place)
    if at is None:
        return text or error.summary
    lines = source.read_text(encoding="utf-8").splitlines()
    number = int(at[1])
    return f"{text}; line {number}: {lines[number - 1].strip() if number <= len(lines) else ''}"


class LabProgram(Pinned):
    """What one text became: its programs and maps, and where they are attached."""

    def __init__(self, folder: Path, text: Path, find: Callable[[str], Place]) -> None:
        """``text`` is where text and object lie, without their endings."""
        super().__init__(folder)
        self._text = text
        self._find = find

    def attach(self, place: str, hook: Hook, *, program: str = "") -> str:
        """Attach a program to a device: of a pod, or ``place`` of the lab's wire. Again puts it in its own place.

        The link is pinned: it stays when the notebook's kernel ends.
        """
        if hook not in _HOOKS:
            raise UsageError(f"there is no hook {hook!r}", hint=", ".join(_HOOKS))
        where, device = self._find(place)
        pin = self.folder / "links" / f"{place}_{hook}".replace("/", "_").replace(" ", "_")
        pin.parent.mkdir(mode=0o700, exist_ok=True)
        _detach(pin)
        with self.program(program) as chosen:

            def inside() -> None:
                with Links() as links:
                    index = links.index(device)
                if not index:
                    raise NotFoundError(f"{place} has no device {device}")
                if hook.startswith("xdp"):
                    made = link.xdp(chosen, index, flags=_GENERIC if hook.endswith("generic") else 0)
                else:
                    made = link.tcx(chosen, index, "ingress" if hook == "tcx ingress" else "egress")
                with made:
                    made.pin(pin)

            netns.in_netns(where, inside)
            return f"{chosen.name} is attached to {device} of {place.partition('/')[0]}, {hook}"

    def detach(self) -> str:
        """Take its programs off every device; they stay loaded."""
        folder = self.folder / "links"
        pins = sorted(folder.iterdir()) if folder.is_dir() else []
        for pin in pins:
            _detach(pin)
        return f"{self.name}: {len(pins)} detached"

    @property
    def shown(self) -> ProgramText:
        """Source, instructions, the verifier's walk and maps, to be looked at."""
        spec = ObjectSpec.open(self._text.with_name(f"{self.name}.bpf.o"))
        programs = {}
        for name in self.programs:
            section = spec.programs[name].section
            programs[name] = Program(syscall.open_pin(self.folder / "programs" / name), name=name, section=section)
        source = self._text.with_name(f"{self.name}.bpf.c")
        with LoadedObject(spec, programs, {}, set(), set()) as held:
            return with_only(LEAST, lambda: describe.loaded_object(held, source, "this cell"))

    def walk(self, program: str = "", *, most: int = 40) -> str:
        """Tell the verifier's walk: each instruction it came to, and what it knew about the registers there."""
        lines = []
        for one in self.shown.functions:
            if program in ("", one.name):
                lines += [f"{step.number:>4}: {step.text:<40} {step.state}".rstrip() for step in one.walk[:most]]
                lines += [f"      ... and {len(one.walk) - most} more steps"] if len(one.walk) > most else []
        return "\n".join(lines)

    def close(self) -> None:
        """Detach and unload."""
        self.detach()
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def map(self, name: str) -> MapTable:
        """Show a map's entries as a table."""
        from glasshive.widgets import MapTable

        return MapTable(f"{name} of {self.name}", self.rows(name))

    def __repr__(self) -> str:
        if not self.loaded:
            return f"{self.name}: not loaded"
        lines = [f"{self.name}: loaded"]
        lines += [f"  program {name} ({kind})" for name, kind in self.kinds().items()]
        for name in self.maps:
            with self.open_map(name) as one:
                lines.append(f"  map {name} ({one.type.name.lower()}), {one.max_entries} entries at most")
        lines += [f"  attached: {row['program']} at {row['place']}" for row in self.links()]
        return "\n".join(lines)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from glasshive.widgets import ProgramView

        if not self.loaded:
            return {"text/plain": repr(self)}
        bundle = ProgramView(self.shown)._repr_mimebundle_(**options)
        (bundle[0] if isinstance(bundle, tuple) else bundle)["text/plain"] = repr(self)
        return bundle


def _detach(pin: Path) -> None:
    """Detach now, not some time after the pin has gone: until then the program could not be attached again."""
    if pin.exists():
        with link.Link.open(pin) as held:
            held.detach()
        pin.unlink()
