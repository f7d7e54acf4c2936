"""Socket programs at the node's cgroup: calls of services are translated once per connection, for node and pods.

A host may lack cgroup v2, or a kernel one of these program types; then nothing is attached, ``trouble`` says why, and
the programs at the node's devices translate packets instead.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from glasshive.agent.objects import Objects
from glasshive.bpf import Program, link
from glasshive.bpf.link import Link
from glasshive.errors import BpfError

log = logging.getLogger(__name__)

PROGRAMS = (
    "sock_connect4", "sock_connect6", "sock_sendmsg4", "sock_sendmsg6",
    "sock_recvmsg4", "sock_recvmsg6", "sock_getpeer4", "sock_getpeer6",
)  # fmt: skip
# Answers before questions: a socket that is translated must be able to see the service's address.
_ORDER = PROGRAMS[::-1]
_SO_NETNS_COOKIE = 71  # asm-generic/socket.h


def netns_cookie() -> int:
    """Cookie of the calling thread's network namespace (SO_NETNS_COOKIE, Linux 5.14), 0 where the kernel has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")
        except OSError:
            return 0


def attach(found: Objects, cgroup: Path | None, pins: Path) -> str:
    """Attach all of them, or take over what an earlier agent attached; why they are not there, "" if they are."""
    if cgroup is None or not (cgroup / "cgroup.procs").exists():
        return "the node has no cgroup (v2) that socket programs could be attached to"
    if missing := [name for name in PROGRAMS if name not in found.programs]:
        return found.trouble.get("socket") or f"the datapath objects have no program {missing[0]}"
    pins.mkdir(parents=True, exist_ok=True)
    try:
        for name in _ORDER:
            _attach(found.programs[name], cgroup, pins / name)
    except BpfError as error:
        log.warning("calls of services are not translated at sockets: %s", error)
        return str(error)
    return ""


def _attach(program: Program, cgroup: Path, pin: Path) -> None:
    if pin.exists():
        with Link.open(pin) as before:
            if before.cgroup_id == cgroup.stat().st_ino:
                before.update(program)
                return
        pin.unlink()
    with link.cgroup(program, cgroup) as made:
        made.pin(pin)
