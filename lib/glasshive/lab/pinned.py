"""A lab's own BPF programs, found by their pins: what is in the kernel, whoever put it there.

A program that a learner wrote is pinned below ``/sys/fs/bpf/glasshive/<cluster>/labs/<lab>/<name>/``: ``programs``,
``maps`` and ``links`` beneath. Notebook and grader both look here; the grader runs packets through the pinned program
(BPF_PROG_TEST_RUN) and never sees its source. ``workshop`` is what puts programs there.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glasshive.bpf import ANY, Map, Program, ProgType, TestRun, inspect, skb_context
from glasshive.cluster.embedded.paths import BPFFS_ROOT
from glasshive.errors import NotFoundError, UsageError
from glasshive.lab.packets import Packet, read
from glasshive.maps.render import rows_of

XDP_ACTIONS = {0: "XDP_ABORTED", 1: "XDP_DROP", 2: "XDP_PASS", 3: "XDP_TX", 4: "XDP_REDIRECT"}
TC_ACTIONS = {-1: "TC_ACT_UNSPEC", 0: "TC_ACT_OK", 2: "TC_ACT_SHOT", 7: "TC_ACT_REDIRECT"}
_LONGEST_NAME = 15  # what the kernel keeps of a name


@dataclass(frozen=True, slots=True)
class Ran:
    """One packet through one program: the verdict's name, and the frame afterwards."""

    verdict: str
    frame: bytes
    changed: bool

    @property
    def packet(self) -> Packet | None:
        """The frame, read."""
        return read(self.frame)

    def __repr__(self) -> str:
        return f"{self.verdict}{', and the packet was changed' if self.changed else ''}"


def folder_of(cluster: str, namespace: str) -> Path:
    """Where a lab's programs are pinned, one folder for each name."""
    return BPFFS_ROOT / cluster / "labs" / namespace


class Pinned:
    """What is pinned under one name. Nothing is kept open between calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name

    @property
    def loaded(self) -> bool:
        """Whether there is a program."""
        return bool(self.programs)

    @property
    def programs(self) -> list[str]:
        """Names of the programs."""
        return _names(self.folder / "programs")

    @property
    def maps(self) -> list[str]:
        """Names of the maps."""
        return _names(self.folder / "maps")

    def program(self, name: str = "") -> Program:
        """Open a program; the name may be left out when there is only one. The caller closes it."""
        known = self.programs
        if not known:
            raise NotFoundError(f"no program {self.name} is loaded", hint="run the cell that writes it")
        if not name and len(known) > 1:
            raise UsageError(f"{self.name} has {len(known)} programs", hint=f"program= one of {', '.join(known)}")
        if name and name not in known:
            raise NotFoundError(f"{self.name} has no program {name!r}", hint=", ".join(known))
        return Program.open(self.folder / "programs" / (name or known[0]))

    def run(self, frame: bytes, program: str = "", **context: int) -> Ran:
        """Run a program on a packet, without any device; ``context`` are fields of a tc program's ``__sk_buff``."""
        return self.run_all([frame], program, **context)[0]

    def run_all(self, frames: Sequence[bytes], program: str = "", **context: int) -> list[Ran]:
        """Run a program on one packet after the other."""
        fields = skb_context(**context) if context else None
        with self.program(program) as one:
            actions = XDP_ACTIONS if one.type is ProgType.XDP else TC_ACTIONS
            return [_ran(one.test_run(frame, fields), frame, actions) for frame in frames]

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Entries of a map as dictionaries, in an order of their own."""
        with self.open_map(name) as one:
            return sorted(rows_of(one), key=lambda row: [str(value) for value in row.values()])

    def put(self, name: str, key: object, value: object) -> None:
        """Write one entry of a map."""
        with self.open_map(name) as one:
            one.update(key, value, ANY)

    def take(self, name: str, key: object) -> bool:
        """Delete one entry of a map; whether it was there."""
        with self.open_map(name) as one:
            return one.delete(key) > 0

    def open_map(self, name: str) -> Map:
        """Open a map. The caller closes it."""
        if name not in self.maps:
            raise NotFoundError(f"{self.name} has no map {name!r}", hint=", ".join(self.maps) or "it has no maps")
        return Map.open(self.folder / "maps" / name)

    def links(self) -> list[dict[str, Any]]:
        """Where its programs are attached: ``place program type attach_type ifindex``; 0 once the device is gone."""
        programs = {one.id: one.name for one in inspect.programs()}
        links = {one.id: one for one in inspect.links()}
        return [
            {
                "place": pin.path.name,
                "program": programs.get(links[pin.id].program_id, ""),
                "program_id": links[pin.id].program_id,
                "type": links[pin.id].type.lower(),
                "hook": links[pin.id].attach_type.lower(),
                "ifindex": links[pin.id].ifindex,
            }
            for pin in inspect.pins(self.folder / "links")
            if pin.id in links
        ]

    def kinds(self) -> Mapping[str, str]:
        """Program name -> type."""
        found = {}
        for name in self.programs:
            with self.program(name) as one:
                found[name] = one.type.name.lower()
        return found


def _ran(done: TestRun, frame: bytes, actions: Mapping[int, str]) -> Ran:
    (number,) = struct.unpack("=i", struct.pack("=I", done.retval))
    return Ran(actions.get(number, f"an unknown action, {number}"), done.data_out, done.data_out != frame)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(one.name for one in folder.iterdir())
    except FileNotFoundError:
        return []
