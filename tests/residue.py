"""What Glasshive can leave behind on a machine, before and after the tests, and whose it is.

``snapshot()`` lists BPF programs, maps and links, pins, named network namespaces, host links, cgroups, processes,
mounts, ``/run/glasshive`` and the RCU switch. ``diff(before, after)`` returns one line for each thing that is new and
ours.

Several test sessions and live clusters may share a machine, so ownership matters:

- what carries a cluster's name (``gh-<cluster>-...``, ``.../glasshive/<cluster>/...``) belongs to that cluster. A
  cluster is ours if a test called ``own(name)`` or if its supervisor carries this session's mark in its environment;
- a process is ours if its environment carries the mark (children inherit it), or it sits in a cgroup of ours;
- a BPF object is somebody else's if a process or a pin of somebody else holds it, also through links and programs;
- anything else that is new counts as ours, unless another test session ran at the same time (then nobody can tell).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from glasshive.inventory import process_alive, process_ident

MARK = "GLASSHIVE_TEST_SESSION"
SETTLE_SECONDS = 5.0  # the kernel frees programs, links and namespaces some grace periods after the last reference

_RUN = Path("/run/glasshive")
_SESSIONS = Path(tempfile.gettempdir()) / "glasshive-test-sessions"
_OWNED: set[str] = set()

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
_OBJ_GET, _OBJ_GET_INFO_BY_FD = 7, 15
_NEXT_ID = {"prog": 11, "map": 12, "link": 31}
_FD_BY_ID = {"prog": 13, "map": 14, "link": 30}


@dataclass(frozen=True)
class Snapshot:
    """Things by kind, identifying text -> readable text; BPF objects ``held`` by others; ``company``: others test."""

    things: dict[str, dict[str, str]] = field(default_factory=dict)
    held: frozenset[tuple[str, int]] = frozenset()
    session_count: int = 0
    company: bool = False


def own(cluster: str) -> str:
    """Say that this session makes the cluster of that name, so that its remains count. Returns the name."""
    _OWNED.add(cluster)
    return cluster


_EXPEDITED = "/sys/kernel/rcu_expedited"


def snapshot() -> Snapshot:
    """List everything now. A process's first call also marks its environment and enters it in the list of sessions."""
    mark = process_ident(os.getpid()) or ""
    if os.environ.get(MARK) != mark:
        os.environ[MARK] = mark
        with _SESSIONS.open("a") as stream:
            stream.write(mark + "\n")
    sessions = _SESSIONS.read_text().split()
    foreign_dirs = [str(d) for d in _foreign_cluster_dirs()]
    things = {
        "pin": {str(p): str(p) for p in _walk(Path("/sys/fs/bpf/glasshive"))},
        "network namespace": {p.name: str(p) for p in _listing(Path("/run/netns"))},
        "host link": {name: f"{name} (index {index})" for index, name in socket.if_nameindex()},
        "cgroup": {str(p): str(p) for p in _walk(_cgroup_root() / "glasshive", directories=True)},
        "process": _our_processes(),
        "mount": {p: p for p in _mounts() if "glasshive" in p or "/netns/" in p or "gh-" in p},
        "run directory": {str(p): str(p) for p in _listing(_RUN)},
        # Left on is residue; put back to off, after a killed agent of an earlier test had left it on, is not.
        "setting": {"rcu": "/sys/kernel/rcu_expedited was left on"} if _read(_EXPEDITED).strip() != "0" else {},
    }
    infos: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for kind in _NEXT_ID:
        things[f"BPF {kind}"] = _bpf_objects(kind, infos)
    held = _reach(_held_by_others(foreign_dirs), infos)
    company = any(s != mark and process_alive(s) for s in sessions)
    return Snapshot(things, held, len(sessions), company)


def diff(before: Snapshot, after: Snapshot) -> list[str]:
    """One line for each thing that is new since ``before`` and ours. Looks again for a while if there is something."""
    deadline = time.monotonic() + SETTLE_SECONDS
    left = _compare(before, after)
    while left and time.monotonic() < deadline:
        time.sleep(0.2)
        left = _compare(before, snapshot())
    return left


def _compare(before: Snapshot, after: Snapshot) -> list[str]:
    alone = not (before.company or after.company or after.session_count > before.session_count)
    foreign = {d.name for d in _foreign_cluster_dirs()}
    lines = []
    for kind, now in after.things.items():
        for key in sorted(now.keys() - before.things.get(kind, {}).keys()):
            cluster = _cluster_of(kind, key)
            if kind.startswith("BPF "):
                ours = (kind[4:], int(key)) not in after.held and alone
            elif cluster is not None:
                ours = cluster in _OWNED or (cluster not in foreign and alone)
            else:
                ours = kind == "process" or alone
            if ours:
                lines.append(f"{kind}: {now[key]}")
    return lines


def _cluster_of(kind: str, key: str) -> str | None:
    """The cluster whose name a thing carries. Names may hold dashes, so known clusters are tried first."""
    if kind in ("network namespace", "mount") and "gh-" in key:
        tail = key[key.index("gh-") + 3 :]
        known = sorted(_OWNED | {d.name for d in _listing(_RUN)}, key=len, reverse=True)
        return next((name for name in known if tail.startswith(name + "-")), tail.split("-", 1)[0])
    if "/glasshive/" in key:
        return key.split("/glasshive/", 1)[1].split("/", 1)[0]
    return None


def _foreign_cluster_dirs() -> list[Path]:
    """Run directories of clusters that live and are not ours."""
    mark = f"{MARK}={os.environ.get(MARK, '')}".encode()
    dirs = []
    for directory in _listing(_RUN):
        if directory.name in _OWNED or not directory.is_dir():
            continue
        cgroup = _cgroup_root() / "glasshive" / directory.name
        pids = [pid for f in _walk(cgroup, directories=True) for pid in _read(f / "cgroup.procs").split()]
        if pids and not any(mark in _read_bytes(f"/proc/{pid}/environ").split(b"\0") for pid in pids):
            dirs.append(directory)
    return dirs


def _our_processes() -> dict[str, str]:
    mark = f"{MARK}={os.environ.get(MARK, '')}".encode()
    mine = {os.getpid()}
    owned_groups = tuple(f"/glasshive/{name}" for name in _OWNED)
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in mine:
            continue
        groups = _read(entry / "cgroup")
        in_group = any(line.split(":", 2)[-1].startswith(owned_groups) for line in groups.splitlines() if owned_groups)
        ident = process_ident(int(entry.name))
        if ident is None or not (in_group or mark in _read_bytes(entry / "environ").split(b"\0")):
            continue
        command = _read_bytes(entry / "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
        if "resource_tracker" not in command:  # Python's own, lives as long as the session
            found[ident] = f"{entry.name} {command[:100] or _read(entry / 'comm').strip()}"
    return found


def _mounts() -> list[str]:
    return [line.split()[4] for line in _read("/proc/self/mountinfo").splitlines()]


def _cgroup_root() -> Path:
    """The cgroup v2 mount, which hybrid hosts keep at /sys/fs/cgroup/unified."""
    for line in _read("/proc/self/mountinfo").splitlines():
        if " - cgroup2 " in line:
            return Path(line.split()[4])
    return Path("/sys/fs/cgroup")


def _listing(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:  # gone, or not ours to see
        return []


def _walk(top: Path, *, directories: bool = False) -> list[Path]:
    found = []
    for root, dirs, files in os.walk(top):
        found += [Path(root)] if directories else [Path(root) / f for f in files] + [Path(root) / d for d in dirs]
    return found


def _read(path: str | Path) -> str:
    return _read_bytes(path).decode(errors="replace")


def _read_bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


# --- BPF objects by raw bpf(2), so that the tests do not lean on the library they test ---


def _bpf(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
    return int(_libc.syscall(_SYS_BPF, command, ctypes.byref(attr), len(attr)))


def _bpf_objects(kind: str, infos: dict[tuple[str, int], set[tuple[str, int]]]) -> dict[str, str]:
    """All objects of a kind in the kernel; ``infos`` gets what each of them holds."""
    found: dict[str, str] = {}
    attr = ctypes.create_string_buffer(128)
    number = 0
    while True:
        struct.pack_into("<II", attr, 0, number, 0)
        if _bpf(_NEXT_ID[kind], attr) < 0:
            return found
        number = struct.unpack_from("<I", attr, 4)[0]
        get = ctypes.create_string_buffer(128)
        struct.pack_into("<I", get, 0, number)
        fd = _bpf(_FD_BY_ID[kind], get)
        if fd < 0:
            continue  # on its way out
        try:
            name, holds = _describe(kind, fd)
        finally:
            os.close(fd)
        found[str(number)] = f"{number} {name}"
        infos[kind, number] = holds


def _describe(kind: str, fd: int) -> tuple[str, set[tuple[str, int]]]:
    """Name and held objects of one object, by struct bpf_{prog,map,link}_info of linux/bpf.h."""
    info = ctypes.create_string_buffer(256)
    ids = (ctypes.c_uint32 * 64)()
    if kind == "prog":
        struct.pack_into("<I", info, 52, len(ids))  # nr_map_ids
        struct.pack_into("<Q", info, 56, ctypes.addressof(ids))  # map_ids
    attr = ctypes.create_string_buffer(128)
    struct.pack_into("<IIQ", attr, 0, fd, len(info), ctypes.addressof(info))
    if _bpf(_OBJ_GET_INFO_BY_FD, attr) < 0:
        return "", set()
    if kind == "prog":
        count = min(struct.unpack_from("<I", info, 52)[0], len(ids))
        return _text(info.raw[64:80]), {("map", ids[n]) for n in range(count)}
    if kind == "map":
        return _text(info.raw[24:40]), set()
    link_type, _, prog = struct.unpack_from("<III", info, 0)
    return f"of type {link_type} for program {prog}", {("prog", prog)}


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")


def _held_by_others(foreign_dirs: list[str]) -> set[tuple[str, int]]:
    mark = f"{MARK}={os.environ.get(MARK, '')}".encode()
    held: set[tuple[str, int]] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        if mark in _read_bytes(entry / "environ").split(b"\0"):
            continue
        for fdinfo in _listing(entry / "fdinfo"):
            for line in _read(fdinfo).splitlines():
                word, _, number = line.partition(":")
                if word in ("prog_id", "map_id", "link_id"):
                    held.add((word[:-3], int(number)))
    for directory in foreign_dirs:
        held |= _pinned_below(Path("/sys/fs/bpf/glasshive") / Path(directory).name)
    return held


def _pinned_below(top: Path) -> set[tuple[str, int]]:
    held = set()
    for path in _walk(top):
        if path.is_dir():
            continue
        name = ctypes.create_string_buffer(os.fsencode(path))
        attr = ctypes.create_string_buffer(128)
        struct.pack_into("<Q", attr, 0, ctypes.addressof(name))
        fd = _bpf(_OBJ_GET, attr)
        if fd < 0:
            continue
        for line in _read(f"/proc/self/fdinfo/{fd}").splitlines():
            word, _, number = line.partition(":")
            if word in ("prog_id", "map_id", "link_id"):
                held.add((word[:-3], int(number)))
        os.close(fd)
    return held


def _reach(
    start: set[tuple[str, int]], infos: dict[tuple[str, int], set[tuple[str, int]]]
) -> frozenset[tuple[str, int]]:
    seen: set[tuple[str, int]] = set()
    queue = list(start)
    while queue:
        one = queue.pop()
        if one not in seen:
            seen.add(one)
            queue += infos.get(one, ())
    return frozenset(seen)
