"""Which program types load, and which helpers and kfuncs a program may call.

Standard library only (see ``syscalls``).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from . import syscalls, vmlinux
from .answer import Attempt, Inconclusive, Missing

# Program types by the number of enum bpf_prog_type, with an expected attach type where the kernel asks for one
# and the value the program must return to pass the verifier.
TYPES: dict[str, tuple[int, int, int]] = {
    "socket_filter": (1, 0, 0), "kprobe": (2, 0, 0), "sched_cls": (3, 0, 0), "sched_act": (4, 0, 0),
    "tracepoint": (5, 0, 0), "xdp": (6, 0, 2), "perf_event": (7, 0, 0), "cgroup_skb": (8, 0, 1),
    "cgroup_sock": (9, 2, 1), "lwt_xmit": (12, 0, 0), "sock_ops": (13, 3, 1), "sk_skb": (14, 0, 1),
    "cgroup_device": (15, 6, 1), "sk_msg": (16, 7, 1), "raw_tracepoint": (17, 0, 0), "cgroup_sock_addr": (18, 10, 1),
    "sk_reuseport": (21, 39, 1), "flow_dissector": (22, 17, 0), "cgroup_sysctl": (23, 18, 1),
    "cgroup_sockopt": (25, 22, 1), "sk_lookup": (30, 36, 1), "netfilter": (32, 45, 1),
}  # fmt: skip

_SLEEPABLE = 1 << 4
SYSCALL = 31
TRACING, LSM = 26, 29
SCHED_CLS, XDP, SOCK_ADDR, TRACEPOINT = 3, 6, 18, 5
EXPECTED = {number: expected for number, expected, _ in TYPES.values()}

# Helper name -> (number of enum bpf_func_id, program type it matters in).
HELPERS: dict[str, tuple[int, int]] = {
    "redirect": (23, SCHED_CLS), "skb_set_tunnel_key": (21, SCHED_CLS), "skb_get_tunnel_key": (20, SCHED_CLS),
    "skb_change_head": (43, SCHED_CLS), "skb_pull_data": (39, SCHED_CLS), "fib_lookup": (69, SCHED_CLS),
    "sk_assign": (124, SCHED_CLS), "skc_lookup_tcp": (99, SCHED_CLS), "redirect_neigh": (152, SCHED_CLS),
    "redirect_peer": (155, SCHED_CLS), "skb_set_tstamp": (192, SCHED_CLS), "skb_ecn_set_ce": (97, SCHED_CLS),
    "check_mtu": (163, SCHED_CLS), "csum_diff": (28, SCHED_CLS), "ktime_get_coarse_ns": (160, SCHED_CLS),
    "for_each_map_elem": (164, SCHED_CLS), "loop": (181, SCHED_CLS), "timer_init": (169, SCHED_CLS),
    "ringbuf_output": (130, SCHED_CLS), "ringbuf_reserve": (131, SCHED_CLS), "tail_call": (12, SCHED_CLS),
    "map_lookup_percpu_elem": (195, SCHED_CLS), "tcp_raw_gen_syncookie_ipv4": (204, XDP),
    "xdp_adjust_head": (44, XDP), "redirect_map": (51, XDP), "xdp_load_bytes": (189, XDP),
    "get_netns_cookie": (122, SOCK_ADDR), "get_socket_cookie": (46, SOCK_ADDR), "set_retval": (187, SOCK_ADDR),
    "sk_storage_get": (107, SOCK_ADDR), "get_current_cgroup_id": (80, TRACEPOINT),
    "probe_read_kernel": (113, TRACEPOINT),
    "probe_read_user_str": (114, TRACEPOINT), "send_signal": (109, TRACEPOINT), "override_return": (58, 2),
    "get_current_task_btf": (158, TRACEPOINT), "get_func_ip": (173, 2), "copy_from_user": (148, SYSCALL),
    "sys_bpf": (166, SYSCALL), "kallsyms_lookup_name": (179, SYSCALL),
    "snprintf": (165, TRACEPOINT), "strncmp": (182, TRACEPOINT), "get_stackid": (27, TRACEPOINT),
}  # fmt: skip

# Kfunc name -> program type it matters in.
KFUNCS: dict[str, int] = {
    "bpf_skb_ct_lookup": SCHED_CLS, "bpf_dynptr_from_skb": SCHED_CLS, "bpf_rcu_read_lock": TRACING,
    "bpf_cast_to_kern_ctx": SCHED_CLS,
    "bpf_rdonly_cast": TRACING, "bpf_task_from_pid": TRACING, "bpf_cgroup_from_id": TRACING,
    "bpf_cgroup_acquire": TRACING,
    "bpf_cgroup_ancestor": TRACING, "bpf_obj_new_impl": SCHED_CLS, "bpf_iter_num_new": SCHED_CLS,
    "bpf_skb_set_fou_encap": SCHED_CLS,
    "bpf_skb_set_xfrm_info": SCHED_CLS, "bpf_xdp_metadata_rx_hash": XDP, "bpf_path_d_path": LSM,
    "bpf_get_file_xattr": LSM,
    "bpf_arena_alloc_pages": SYSCALL, "bpf_wq_init": SCHED_CLS, "bpf_sock_addr_set_sun_path": SOCK_ADDR,
}  # fmt: skip

_NO_SUCH_FUNCTION = ("invalid func", "unknown func", "cannot use helper", "is not allowed", "not allowed in")

# Functions and tracepoints that attempts attach to, looked up together: one walk over the kernel's BTF costs 0.1 s.
_BTF_NAMES = (
    ("btf_trace_sched_process_exec", vmlinux.TYPEDEF),
    ("bpf_fentry_test1", vmlinux.FUNC), ("security_settime64", vmlinux.FUNC),
    ("bpf_lsm_settime", vmlinux.FUNC), ("bpf_lsm_socket_create", vmlinux.FUNC), ("bpf_iter_task", vmlinux.FUNC),
    ("bpf_lsm_file_open", vmlinux.FUNC),
)  # fmt: skip


@functools.cache
def btf_ids() -> dict[tuple[str, int], int]:
    """Give the BTF ids of everything the attempts name."""
    return vmlinux.find_ids((*_BTF_NAMES, *((name, vmlinux.FUNC) for name in KFUNCS)))


def btf_id(name: str, kind: int = vmlinux.FUNC) -> int:
    """Give one BTF id, or say that the kernel has none."""
    try:
        found = btf_ids().get((name, kind))
    except FileNotFoundError as absent:
        raise Missing(f"the kernel has no BTF at {vmlinux.VMLINUX}") from absent
    except ValueError as puzzled:
        raise Inconclusive(f"the kernel's BTF is not understood: {puzzled}") from puzzled
    if found is None:
        raise Missing(f"the kernel's BTF has no {name}")
    return found


def _load_type(number: int, expected: int, value: int) -> str:
    os.close(syscalls.load_program(number, syscalls.returning(value), expected=expected))
    return "a program of two instructions loads"


def _load_syscall() -> str:
    os.close(syscalls.load_program(SYSCALL, syscalls.returning(0), flags=_SLEEPABLE))
    return "a program of two instructions loads"


def _call(load: Callable[[], int]) -> str:
    """Load a program that calls a function wrongly on purpose: only 'there is no such function' counts against it."""
    try:
        os.close(load())
    except syscalls.Refused as refusal:
        if not refusal.log:
            raise
        for line in refusal.log.splitlines():
            if any(sign in line for sign in _NO_SUCH_FUNCTION):
                raise Missing(f"the verifier says: {line.strip()}") from refusal
        return "the verifier knows it (and objects to our arguments, as meant)"
    return "a program that calls it loads"


def _load(kind: int, code: bytes) -> int:
    """Load code as a program of this type, with what the type needs besides its code."""
    if kind == TRACING:
        hook = btf_id("btf_trace_sched_process_exec", vmlinux.TYPEDEF)
        return syscalls.load_program(kind, code, expected=23, btf_id=hook)
    if kind == LSM:
        return syscalls.load_program(kind, code, expected=27, btf_id=btf_id("bpf_lsm_file_open"))
    if kind == SYSCALL:
        return syscalls.load_program(kind, code, flags=_SLEEPABLE)
    return syscalls.load_program(kind, code, expected=EXPECTED.get(kind, 0))


def _call_helper(number: int, kind: int) -> str:
    return _call(lambda: _load(kind, syscalls.calling(number, value=1)))


def _call_kfunc(name: str, kind: int) -> str:
    function = btf_id(name)
    return _call(lambda: _load(kind, syscalls.calling(function, kfunc=True, value=1)))


def _test_run() -> str:
    program = syscalls.load_program(SCHED_CLS, syscalls.returning(7))
    try:
        answer = syscalls.run_on_packet(program, b"\0" * 64)
    finally:
        os.close(program)
    if answer != 7:
        raise Inconclusive(f"a program that returns 7 gave {answer}")
    return "a program ran on a 64-byte packet"


def attempts() -> list[Attempt]:
    """Give every attempt of this module, in the order of the tables."""
    found = [Attempt(f"prog:{name}", functools.partial(_load_type, *row)) for name, row in TYPES.items()]
    found.append(Attempt("prog:syscall", _load_syscall))
    found.append(Attempt("prog:test_run", _test_run))
    found += [Attempt(f"helper:{name}", functools.partial(_call_helper, *row)) for name, row in HELPERS.items()]
    found += [Attempt(f"kfunc:{name}", functools.partial(_call_kfunc, name, kind)) for name, kind in KFUNCS.items()]
    return found
