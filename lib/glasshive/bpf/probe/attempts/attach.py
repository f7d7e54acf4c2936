"""Which hooks a program can really be attached to: device, cgroup, tracing and security hooks.

Loading is not enough: a kernel may load a kprobe program and have no kprobes. Devices are made in the caller's network
namespace, which must be a private one. Standard library only (see ``syscalls``).
"""

from __future__ import annotations

import contextlib
import functools
import os
import struct
from collections.abc import Callable, Iterator

from . import programs, rtnetlink, syscalls, system, vmlinux
from .answer import Attempt, Missing

# Cgroup hook -> (program type, number of enum bpf_attach_type).
CGROUP: dict[str, tuple[int, int]] = {
    "skb_ingress": (8, 0), "skb_egress": (8, 1), "sock_create": (9, 2), "sock_release": (9, 34), "sock_ops": (13, 3),
    "device": (15, 6), "bind4": (18, 8), "bind6": (18, 9), "connect4": (18, 10), "connect6": (18, 11),
    "post_bind4": (9, 12), "sendmsg4": (18, 14), "sendmsg6": (18, 15), "recvmsg4": (18, 19), "recvmsg6": (18, 20),
    "getpeername4": (18, 29), "getpeername6": (18, 30), "sysctl": (23, 18), "getsockopt": (25, 21),
    "setsockopt": (25, 22),
    "connect_unix": (18, 49),
}  # fmt: skip
_TCX_INGRESS, _XDP, _SK_LOOKUP, _PERF_EVENT, _NETKIT_PRIMARY = 46, 37, 36, 41, 54
_PERF_SET_BPF, _PERF_ENABLE = 0x40042408, 0x2400


@contextlib.contextmanager
def _program(kind: int, value: int = 0, *, expected: int = 0, btf_id: int = 0) -> Iterator[int]:
    descriptor = syscalls.load_program(kind, syscalls.returning(value), expected=expected, btf_id=btf_id)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _tcx() -> str:
    with rtnetlink.scratch_device() as ifindex, _program(programs.SCHED_CLS, 0, expected=_TCX_INGRESS) as program:
        link = syscalls.create_link(program, ifindex, _TCX_INGRESS, tail=struct.pack("<IIQ", 0, 0, 0))
        try:
            with _program(programs.SCHED_CLS, 0, expected=_TCX_INGRESS) as newer:
                syscalls.bpf(syscalls.LINK_UPDATE, struct.pack("<IIII", link, newer, 0, 0))
        finally:
            os.close(link)
    return "a link was made and its program replaced in place"


def _clsact() -> str:
    with rtnetlink.scratch_device() as ifindex, _program(programs.SCHED_CLS) as program:
        rtnetlink.add_clsact(ifindex)
        options = rtnetlink.attribute(6, struct.pack("<I", program)) + rtnetlink.attribute(8, struct.pack("<I", 1))
        rtnetlink.add_filter(ifindex, "bpf", options)  # 6 is TCA_BPF_FD, 8 TCA_BPF_FLAGS (1: direct action)
    return "cls_bpf sits on a clsact queueing discipline"


def _xdp(flags: int) -> str:
    with rtnetlink.scratch_device() as ifindex, _program(programs.XDP, 2, expected=_XDP) as program:
        os.close(syscalls.bpf(syscalls.LINK_CREATE, struct.pack("<IIII", program, ifindex, _XDP, flags)))
    return "a link was made on a veth"


def _cgroup(kind: int, hook: int) -> str:
    with system.scratch_cgroup() as directory, _program(kind, 1, expected=hook) as program:
        os.close(syscalls.create_link(program, directory, hook))
    return "a link was made on an empty cgroup"


def _sk_lookup() -> str:
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _program(30, 1, expected=_SK_LOOKUP) as program:
            os.close(syscalls.create_link(program, namespace, _SK_LOOKUP))
    finally:
        os.close(namespace)
    return "a link was made on a network namespace"


def _raw_tracepoint() -> str:
    with _program(17) as program:
        os.close(syscalls.open_raw_tracepoint(program, "sched_process_exec"))
    return "a link was made at sched_process_exec"


def _typed(kind: int, expected: int, name: str, btf_kind: int) -> str:
    number = programs.btf_id(name, btf_kind)
    with _program(kind, 0, expected=expected, btf_id=number) as program:
        os.close(syscalls.open_raw_tracepoint(program, None))
    return f"a link was made at {name.removeprefix('btf_trace_').removeprefix('bpf_lsm_')}"


def _tracepoint() -> str:
    root, mounted = system.tracefs()
    with open(f"{root}/events/sched/sched_process_exec/id", encoding="ascii") as handle:  # noqa: PTH123
        number = int(handle.read())
    event = syscalls.perf_event_open(struct.pack("<IIQQQ", 2, 112, number, 1, 0).ljust(112, b"\0"))
    attached = _on_perf_event(event, 5, "sched_process_exec")
    return (
        attached if mounted else f"{attached}, once tracefs was mounted: mount -t tracefs tracefs /sys/kernel/tracing"
    )


def _on_perf_event(event: int, kind: int, where: str) -> str:
    """Attach a program to an open perf event by a link, or by ioctl where there are no such links; close the event."""
    try:
        with _program(kind) as program:
            try:
                os.close(syscalls.create_link(program, event, _PERF_EVENT))
            except syscalls.Refused:
                import fcntl

                fcntl.ioctl(event, _PERF_SET_BPF, program)
    finally:
        os.close(event)
    return f"attached at {where}"


def _kernel_probe(on_return: bool) -> str:
    try:
        event = syscalls.open_probe_event("kprobe", "do_nanosleep", on_return=on_return)
    except FileNotFoundError as absent:
        raise Missing("the kernel has no kprobe unit (CONFIG_KPROBE_EVENTS)") from absent
    return _on_perf_event(event, 2, "do_nanosleep")


def _user_probe() -> str:
    """Attach at the first byte of a file of our own that is never executed."""
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="gh-probe-") as target:
        target.write(b"\x90" * 4096)
        target.flush()
        try:
            event = syscalls.open_probe_event("uprobe", target.name)
        except FileNotFoundError as absent:
            raise Missing("the kernel has no uprobe unit (CONFIG_UPROBE_EVENTS)") from absent
        return _on_perf_event(event, 2, "a file of our own")


def _iterator() -> str:
    with _program(programs.TRACING, 0, expected=28, btf_id=programs.btf_id("bpf_iter_task")) as program:
        link = syscalls.create_link(program, 0, 28)
        try:
            os.close(syscalls.bpf(syscalls.ITER_CREATE, struct.pack("<II", link, 0)))
        finally:
            os.close(link)
    return "an iterator over tasks was opened"


def _lsm_cgroup() -> str:
    loaded = _program(programs.LSM, 1, expected=43, btf_id=programs.btf_id("bpf_lsm_socket_create"))
    with system.scratch_cgroup() as directory, loaded as program:
        os.close(syscalls.create_link(program, directory, 43))
    return "a link was made on an empty cgroup"


def _multi(attach_type: int) -> str:
    """Attach one kprobe.multi link to one symbol."""
    import ctypes

    symbol = ctypes.create_string_buffer(b"do_nanosleep")
    symbols = (ctypes.c_void_p * 1)(ctypes.addressof(symbol))
    with _program(2, 0, expected=attach_type) as program:
        tail = struct.pack("<IIQQQ", 0, 1, ctypes.addressof(symbols), 0, 0)
        os.close(syscalls.create_link(program, 0, attach_type, tail=tail))
    return "a link was made at do_nanosleep"


def _netkit() -> str:
    with (
        rtnetlink.scratch_device("netkit") as ifindex,
        _program(programs.SCHED_CLS, 0, expected=_NETKIT_PRIMARY) as program,
    ):
        os.close(syscalls.create_link(program, ifindex, _NETKIT_PRIMARY, tail=struct.pack("<IIQ", 0, 0, 0)))
    return "a link was made"


def attempts() -> list[Attempt]:
    """Give every attempt of this module."""
    hooks: dict[str, Callable[[], str]] = {
        "tcx": _tcx,
        "clsact": _clsact,
        "xdp_native": functools.partial(_xdp, 4),  # XDP_FLAGS_DRV_MODE
        "xdp_generic": functools.partial(_xdp, 2),  # XDP_FLAGS_SKB_MODE
        "netkit": _netkit,
        "sk_lookup": _sk_lookup,
        "tracepoint": _tracepoint,
        "raw_tracepoint": _raw_tracepoint,
        "tp_btf": functools.partial(_typed, programs.TRACING, 23, "btf_trace_sched_process_exec", vmlinux.TYPEDEF),
        "iter": _iterator,
        "uprobe": _user_probe,
        "kprobe": functools.partial(_kernel_probe, False),
        "kretprobe": functools.partial(_kernel_probe, True),
        "kprobe_multi": functools.partial(_multi, 42),
        "fentry": functools.partial(_typed, programs.TRACING, 24, "bpf_fentry_test1", vmlinux.FUNC),
        "fexit": functools.partial(_typed, programs.TRACING, 25, "bpf_fentry_test1", vmlinux.FUNC),
        "fmod_ret": functools.partial(_typed, programs.TRACING, 26, "security_settime64", vmlinux.FUNC),
        "lsm": functools.partial(_typed, programs.LSM, 27, "bpf_lsm_settime", vmlinux.FUNC),
        "lsm_cgroup": _lsm_cgroup,
    }
    found = [Attempt(f"attach:{name}", run) for name, run in hooks.items()]
    found += [Attempt(f"attach:cgroup_{name}", functools.partial(_cgroup, *row)) for name, row in CGROUP.items()]
    return found
