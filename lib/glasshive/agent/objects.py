"""The datapath's objects in the kernel: loaded once per node, their maps pinned, shared by all.

The first object's maps are made before anything else and pinned at once; then all find them by name, and two threads
load side by side, because most of the time is the verifier's. An agent that comes back finds all maps, so connections
and counters go on.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from glasshive import bpf
from glasshive.bpf import Map, ObjectSpec, Program
from glasshive.bpf.object import LoadedObject
from glasshive.errors import BpfError, GlasshiveError, MapIncompatibleError, NotFoundError

log = logging.getLogger(__name__)

OBJECTS = ("host", "pod", "overlay", "socket")
"""The first one's BTF names all enums of the ABI (``bpf/lib/abi.h``), and its maps are made first."""
SIDE_BY_SIDE = (("host", "socket"), ("pod", "overlay"))
"""Who is loaded after whom, in two threads. Objects of two threads share no map that the first object lacks."""

OPTIONAL = ("socket",)
"""What a kernel may refuse: the others do its work for packets."""


@dataclass(slots=True)
class Objects:
    """Programs and maps of a node by their C names, and how long it took (ms)."""

    programs: dict[str, Program] = field(default_factory=dict)
    maps: dict[str, Map] = field(default_factory=dict)
    timing_ms: dict[str, float] = field(default_factory=dict)
    taken_over: frozenset[str] = frozenset()
    btf: Any = None
    trouble: dict[str, str] = field(default_factory=dict)
    """Objects that a node can do without and that this kernel refused -> why."""

    def enum(self, name: str) -> type[IntEnum]:
        """A C enum of the ABI."""
        return bpf.btf.enum(self.btf, name)

    def number(self, enum: str, member: str) -> int:
        """One member of a C enum."""
        return int(self.enum(enum)[member])


NodeConfig = Callable[[Mapping[str, int]], Mapping[str, Any]]
"""Makes the fields of ``struct gh_node_config`` from the members of ``enum gh_node_flags``."""


def load(
    directory: Path,
    pins: Path,
    node_config: NodeConfig,
    *,
    tunnel: bool,
    map_entries: Mapping[str, int],
    netns_cookie: int = 0,
) -> Objects:
    """Load the datapath of a node. ``pins`` is the node's bpffs directory. BpfError, VerifierError, NotFoundError.

    ``netns_cookie`` is that of the node's network namespace, 0 if it is not known.
    """
    bpf.mount_bpffs()
    maps, programs = pins / "maps", pins / "progs"
    for path in (maps, programs):
        path.mkdir(parents=True, exist_ok=True)
    try:
        return _load(directory, maps, programs, node_config, tunnel, map_entries, netns_cookie)
    except MapIncompatibleError as error:
        # An upgrade that changed a map's layout. Old programs go on with the old maps until their links are updated.
        log.warning("starting with empty maps, connections are not remembered: %s", error)
        for path in maps.iterdir():
            path.unlink()
    return _load(directory, maps, programs, node_config, tunnel, map_entries, netns_cookie)


def _load(  # noqa: PLR0917 - what ``load`` was given
    directory: Path,
    maps: Path,
    programs: Path,
    node_config: NodeConfig,
    tunnel: bool,
    map_entries: Mapping[str, int],
    netns_cookie: int,
) -> Objects:
    names = [name for name in OBJECTS if tunnel or name != "overlay"]
    specs = {name: _spec(directory / f"{name}.bpf.o") for name in names}
    found = Objects(btf=specs[OBJECTS[0]].btf)
    told = dict(node_config({one.name: int(one) for one in found.enum("gh_node_flags")}))
    for spec in specs.values():
        spec.rodata["node_config"] = told
        for map_name in map_entries.keys() & spec.maps.keys():
            spec.maps[map_name].max_entries = map_entries[map_name]
    specs["socket"].rodata["node_netns_cookie"] = netns_cookie
    began = time.perf_counter()
    with specs[OBJECTS[0]].load(maps, only=()) as loaded:
        found.taken_over = frozenset(loaded.reused)
        loaded.pin_maps(maps)
    found.timing_ms["maps"] = round((time.perf_counter() - began) * 1000, 2)

    def load_all(those: Sequence[str]) -> list[LoadedObject]:
        made = (_load_one(specs[name], maps, programs, found) for name in those if name in specs)
        return [one for one in made if one is not None]

    with ThreadPoolExecutor(len(SIDE_BY_SIDE), "load") as threads:
        for done in list(threads.map(load_all, SIDE_BY_SIDE)):
            for loaded in done:
                found.programs.update(loaded.programs)
                found.maps |= {key: value for key, value in loaded.maps.items() if not key.startswith(".")}
    if unknown := sorted(set(map_entries) - set(found.maps)):
        log.warning("sizes are told of maps that the datapath does not have: %s", ", ".join(unknown))
    return found


def _load_one(spec: ObjectSpec, maps: Path, programs: Path, found: Objects) -> LoadedObject | None:
    began = time.perf_counter()
    try:
        loaded = spec.load(maps)
    except BpfError as error:
        if spec.name not in OPTIONAL:
            raise
        log.warning("the kernel refused the %s programs: %s", spec.name, error)
        found.trouble[spec.name] = str(error)
        return None
    loaded.pin_maps(maps)
    for name, program in loaded.programs.items():
        _name(program, programs / name)
    found.timing_ms[spec.name] = round((time.perf_counter() - began) * 1000, 2)
    return loaded


def warm_up(directory: Path) -> None:
    """Read the objects and load libbpf ahead of need: what a process does before it forks agents is done once for all.

    An object that is not there is left to the one who needs it. A file that changes later is read again.
    """
    for name in OBJECTS:
        with contextlib.suppress(GlasshiveError):
            spec = _spec(directory / f"{name}.bpf.o")
            spec.rodata["node_config"]  # parses the types
            _prepared[directory / f"{name}.bpf.o"] = _changed_ns(directory / f"{name}.bpf.o"), spec


_prepared: dict[Path, tuple[int, ObjectSpec]] = {}


def _spec(path: Path) -> ObjectSpec:
    """The object, from ``warm_up`` if it read the same file."""
    changed_ns, spec = _prepared.pop(path, (0, None))
    if spec is not None and changed_ns == _changed_ns(path):
        return spec
    return ObjectSpec.open(path)


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def needed(objects: Objects, kind: str, name: str) -> Any:
    """A program or map that must be there, by name; NotFoundError says that object and agent do not fit."""
    try:
        return getattr(objects, kind)[name]
    except KeyError:
        text = f"the datapath objects have no {kind[:-1]} {name}"
        raise NotFoundError(text, hint="rebuild with `make bpf`") from None


def _name(program: Program, path: Path) -> None:
    """Pin a program in place of the last agent's, so that ``bpftool`` and labs find it by name."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    program.pin(path)
