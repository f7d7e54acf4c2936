"""The two programs of a pod's host side, attached and pinned.

Pinned, they outlive the agent. A new agent puts its own programs into the old links (atomic, 3 us each): a pod is
never without a program, and no packet is lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from pathlib import Path
from typing import Literal, NamedTuple

from glasshive.bpf import Program, link, syscall
from glasshive.errors import BpfError
from glasshive.model.endpoint import Endpoint

Direction = Literal["ingress", "egress"]


class PodPrograms(NamedTuple):
    """``from_pod`` runs at the host side's ingress (what the pod sends), ``to_pod`` at its egress."""

    from_pod: Program
    to_pod: Program


class PodLinks:
    """Attachments of all endpoints of a node, pinned in one bpffs directory."""

    def __init__(self, directory: Path, programs: PodPrograms) -> None:
        self.directory = directory
        self.programs = programs
        directory.mkdir(parents=True, exist_ok=True)
        self._prefix = f"{directory}/"

    def attach(self, endpoint: Endpoint) -> None:
        """Attach both programs to a new host side. On failure neither stays."""
        made: list[str] = []
        try:
            for program, direction in self._plan():
                path = self._path(endpoint, direction)
                attached = link.tcx(program, endpoint.ifindex, direction)
                try:
                    self._pin(attached, path)
                    made.append(path)
                finally:
                    attached.close()
        except BpfError:
            for path in made:
                _unlink(path)
            raise

    def adopt(self, endpoint: Endpoint) -> None:
        """Put this agent's programs into the links of an endpoint that an earlier agent attached; attach what is missing."""
        for program, direction in self._plan():
            replace(self._path(endpoint, direction), program, endpoint.ifindex, direction)

    def detach(self, endpoint: Endpoint) -> None:
        """Remove the pins; the programs leave with the device or with the last reference."""
        for _, direction in self._plan():
            _unlink(self._path(endpoint, direction))

    def missing(self, endpoint: Endpoint) -> list[str]:
        """At which of its two hooks an endpoint has no program."""
        return [direction for _, direction in self._plan() if not _is_attached(self._path(endpoint, direction))]

    def strays(self, ids: set[int]) -> list[int]:
        """Endpoint ids that have pins here but are not among ``ids``."""
        found = set()
        for path in self.directory.iterdir():
            stem = path.name.split("_")
            if stem[0] == "pod" and len(stem) == 3 and stem[1].isdigit() and int(stem[1]) not in ids:
                found.add(int(stem[1]))
        return sorted(found)

    def remove_strays(self, ids: set[int]) -> list[int]:
        """Remove the pins of endpoints that are not among ``ids``; returns their ids."""
        strays = self.strays(ids)
        for number in strays:
            for _, direction in self._plan():
                _unlink(f"{self._prefix}pod_{number}_{direction}")
        return strays

    def _plan(self) -> tuple[tuple[Program, Direction], tuple[Program, Direction]]:
        return (self.programs.from_pod, "ingress"), (self.programs.to_pod, "egress")

    def _path(self, endpoint: Endpoint, direction: Direction) -> str:
        return f"{self._prefix}pod_{endpoint.id}_{direction}"

    def _pin(self, attached: link.Link, path: str) -> None:
        try:
            attached.pin(path)
        except BpfError as error:
            if error.errno != errno.EEXIST:
                raise
            _unlink(path)  # of an endpoint that had this id long ago and whose device is gone
            attached.pin(path)


def replace(path: str | Path, program: Program, ifindex: int, direction: Direction) -> bool:
    """See to it that ``program`` is at a device's hook and pinned at ``path``. True if the old link was kept.

    A pinned link whose device has gone (ENOLINK) is of no use any more: then the program is attached anew.
    """
    if Path(path).exists():
        with link.Link.open(path) as old:
            try:
                old.update(program)
            except BpfError as error:
                if error.errno != errno.ENOLINK:
                    raise
            else:
                return True
        _unlink(path)
    with link.tcx(program, ifindex, direction) as new:
        new.pin(path)
    return False


def _is_attached(path: str) -> bool:
    if not Path(path).exists():
        return False
    with link.Link.open(path) as one:
        # struct bpf_link_info: type, id, prog_id, padding, then tcx.ifindex, which is 0 once the device has gone.
        (ifindex,) = struct.unpack_from("=I", syscall.info_by_fd(one.fd, 64), 16)
        return bool(ifindex)


def _unlink(path: str | Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - a Path per pod costs more than the call
