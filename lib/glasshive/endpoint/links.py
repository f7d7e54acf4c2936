"""The two programs of a pod's host side, attached and pinned.

Pinned, they outlive the agent. A new agent puts its own programs into the old links (atomic, 3 us each): a pod is
never without a program, and no packet is lost.
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import Literal, NamedTuple

from glasshive.bpf import Program, link, syscall
from glasshive.model.endpoint import Endpoint

Direction = Literal["ingress", "egress"]

_LINK_INFO_BYTES, _TCX_IFINDEX_AT = 64, 16


class PodPrograms(NamedTuple):
    """``from_pod`` runs at the host side's ingress (what the pod sends), ``to_pod`` at its egress."""

    from_pod: Program
    to_pod: Program


class PodLinks:
    """Attachments of all endpoints of a node, pinned in one bpffs directory."""

    def __init__(self, directory: Path, programs: PodPrograms) -> None:
        self.directory = directory
        self._plan: tuple[tuple[Program, Direction], ...] = (
            (programs.from_pod, "ingress"),
            (programs.to_pod, "egress"),
        )
        directory.mkdir(parents=True, exist_ok=True)
        self._prefix = f"{directory}/pod_"

    def attach(self, endpoint: Endpoint) -> None:
        """Attach both programs; those of an earlier agent are replaced in place. On failure neither stays."""
        try:
            for program, direction in self._plan:
                link.attach_tc(program, endpoint.ifindex, direction, self._path(endpoint.id, direction)).close()
        except BaseException:
            self.detach(endpoint)
            raise

    def detach(self, endpoint: Endpoint) -> None:
        """Remove the pins; the programs leave with the device or with the last reference."""
        self._remove(endpoint.id)

    def missing(self, endpoint: Endpoint) -> list[str]:
        """At which of its two hooks an endpoint has no program. Without tcx (no links) that cannot be told."""
        if not link.has_tcx():
            return []
        return [where for _, where in self._plan if not _is_attached(self._path(endpoint.id, where))]

    def remove_strays(self, ids: set[int]) -> list[int]:
        """Remove the pins of endpoints that are not among ``ids``; returns their ids."""
        found = set()
        for path in self.directory.iterdir():
            parts = path.name.split("_")
            if parts[0] == "pod" and len(parts) == 3 and parts[1].isdigit():
                found.add(int(parts[1]))
        strays = sorted(found - ids)
        for number in strays:
            self._remove(number)
        return strays

    def _remove(self, number: int) -> None:
        for _, direction in self._plan:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(number, direction))  # noqa: PTH108 - a Path per pod costs more than the call

    def _path(self, number: int, direction: str) -> str:
        return f"{self._prefix}{number}_{direction}"


def _is_attached(path: str) -> bool:
    if not Path(path).exists():
        return False
    with link.Link.open(path) as one:
        # struct bpf_link_info: type, id, prog_id, padding, then tcx.ifindex, which is 0 once the device has gone.
        (ifindex,) = struct.unpack_from("=I", syscall.info_by_fd(one.fd, _LINK_INFO_BYTES), _TCX_IFINDEX_AT)
        return bool(ifindex)
