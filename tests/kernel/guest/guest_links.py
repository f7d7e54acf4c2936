"""Our own loader and links, on hooks that the host may lack and on a kernel without tcx."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from guest_run import Skip

from glasshive import bpf
from glasshive.bpf import link
from glasshive.bpf.object import LoadedObject


def _tracing(objects: Path, program: str, refused_pid: int = 0) -> LoadedObject:
    spec = bpf.ObjectSpec.open(objects / "tracing.bpf.o")
    spec.rodata["refused_pid"] = refused_pid
    return spec.load(only=[program])


def _calls(loaded: LoadedObject, slot: int) -> int:
    return int(loaded.maps["calls"].get(slot))


def _open_something() -> None:
    Path("/proc/version").read_text(encoding="ascii")


def check_kprobe_counts_calls(objects: Path) -> None:
    loaded = _tracing(objects, "on_kprobe")
    with link.kprobe(loaded.programs["on_kprobe"], "do_sys_openat2"):
        _open_something()
        assert _calls(loaded, 0) > 0


def check_kretprobe_counts_returns(objects: Path) -> None:
    loaded = _tracing(objects, "on_kretprobe")
    with link.kprobe(loaded.programs["on_kretprobe"], "do_sys_openat2", at_return=True):
        _open_something()
        assert _calls(loaded, 1) > 0


def check_closed_link_counts_no_more(objects: Path) -> None:
    loaded = _tracing(objects, "on_kprobe")
    link.kprobe(loaded.programs["on_kprobe"], "do_sys_openat2").close()
    before = _calls(loaded, 0)
    _open_something()
    assert _calls(loaded, 0) == before


def check_fentry_counts_calls(objects: Path) -> None:
    loaded = _tracing(objects, "on_fentry")
    with link.trampoline(loaded.programs["on_fentry"]):
        _open_something()
        assert _calls(loaded, 2) > 0


def check_lsm_refuses_open(objects: Path) -> None:
    if "bpf" not in Path("/sys/kernel/security/lsm").read_text(encoding="ascii").split(","):
        raise Skip("this kernel's active LSMs do not include bpf")
    child = os.fork()
    if child == 0:  # the child refuses itself, so that nothing else in the guest is disturbed
        loaded = _tracing(objects, "on_lsm", refused_pid=os.getpid())
        held = link.lsm(loaded.programs["on_lsm"])
        try:
            os.open("/proc/version", os.O_RDONLY)
        except PermissionError:
            os._exit(0)
        held.close()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def check_clsact_where_the_kernel_has_no_tcx(objects: Path) -> None:
    if link.has_tcx():
        raise Skip("this kernel has tcx")
    loaded = bpf.ObjectSpec.open(objects / "classify.bpf.o").load()
    attached = link.attach_tc(loaded.programs["count_packet"], socket.if_nametoindex("lo"), "ingress")
    subprocess.run(["ping", "-c", "2", "-i", "0.2", "127.0.0.1"], capture_output=True, check=True)
    counted = int(loaded.maps["packets"].get(0))
    assert counted >= 2, counted
    attached.close()
    subprocess.run(["ping", "-c", "1", "127.0.0.1"], capture_output=True, check=True)
    assert int(loaded.maps["packets"].get(0)) == counted
