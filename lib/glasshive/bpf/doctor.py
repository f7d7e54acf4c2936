"""From findings to advice: which features and labs this machine opens or closes, and how to mend what is missing.

Pure: it computes over ``probe.Machine`` and prints nothing. ``glasshive doctor`` prints ``render(...)``;
``probe.require(*needs_of("embedded cluster"))`` is how a command refuses early with one clear line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from glasshive.errors import UsageError

from .probe import Answer, Machine, alternatives, mend


@dataclass(frozen=True)
class Wanted:
    """Something that needs capabilities: a feature of the library, or a lab.

    ``needs`` must be met (each ``a|b`` by either); ``better`` is used when there and replaced by ``fallback`` when not.
    """

    kind: str
    name: str
    needs: tuple[str, ...]
    better: tuple[str, ...] = ()
    fallback: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """One wanted thing on this machine: ``missing`` closes it, ``unsure`` may, ``without`` is what it does without."""

    wanted: Wanted
    missing: tuple[str, ...]
    unsure: tuple[str, ...]
    without: tuple[str, ...]

    @property
    def state(self) -> str:
        """Say it in one word: open, reduced, unsure or closed."""
        if self.missing:
            return "closed"
        if self.unsure:
            return "unsure"
        return "reduced" if self.without else "open"


def _feature(name: str, *needs: str, better: tuple[str, ...] = (), fallback: str = "") -> Wanted:
    return Wanted("feature", name, needs, better, fallback)


FEATURES: tuple[Wanted, ...] = (
    _feature(
        "embedded cluster", "cap:sys_admin", "cap:net_admin", "ns:net", "ns:mnt", "ns:pid", "ns:uts", "fs:overlay",
        "fs:cgroup2",
        "fs:bpf", "link:veth", "link:bridge", "lib:libbpf", "limit:memory", "limit:disk",
        better=("sys:rcu_expedited",), fallback="pods are created slower",
    ),
    _feature(
        "pod networking", "prog:sched_cls", "attach:tcx|attach:clsact", "helper:redirect_peer", "helper:redirect_neigh",
        "helper:fib_lookup", "map:hash", "map:lru_hash", "map:lpm_trie", "map:percpu_hash", "map:ringbuf",
        "map_op:mmap_ringbuf",
        better=("attach:tcx", "map_op:batch_hash", "map_op:batch_lpm_trie"),
        fallback="clsact instead of tcx, one call per map entry instead of batches",
    ),
    _feature("dual stack", "net:ipv6"),
    _feature("tunnel routing (VXLAN)", "link:vxlan", "helper:skb_set_tunnel_key", "helper:skb_get_tunnel_key"),
    _feature("tunnel routing (Geneve)", "link:geneve", "helper:skb_set_tunnel_key", "helper:skb_get_tunnel_key"),
    _feature(
        "services in sockets", "prog:cgroup_sock_addr", "attach:cgroup_connect4", "attach:cgroup_connect6",
        "attach:cgroup_sendmsg4",
        "attach:cgroup_recvmsg4", "attach:cgroup_getpeername4", "helper:get_netns_cookie",
    ),
    _feature("load balancing at the device (XDP)", "prog:xdp", "attach:xdp_native|attach:xdp_generic",
             better=("attach:xdp_native",), fallback="generic XDP, which is slower"),
    _feature("bandwidth limits", "qdisc:fq|qdisc:tbf|qdisc:htb", "helper:skb_set_tstamp", better=("qdisc:fq",),
             fallback="a token bucket instead of departure times"),
    _feature("encryption (WireGuard)", "link:wireguard"),
    _feature("encryption (IPsec)", "net:xfrm", "link:xfrm|kfunc:bpf_skb_set_xfrm_info"),
    _feature("transparent proxy", "net:tproxy", "helper:sk_assign"),
    _feature("process events", "attach:raw_tracepoint|attach:tp_btf", "btf:vmlinux", "map:ringbuf",
             "helper:probe_read_kernel", better=("attach:tp_btf",), fallback="raw tracepoints without BTF types"),
    _feature("kernel function tracing", "attach:kprobe|attach:fentry", "btf:vmlinux", better=("attach:fentry",),
             fallback="kprobes"),
    _feature("user function tracing", "attach:uprobe"),
    _feature("enforcement by signal", "helper:send_signal", "attach:tp_btf|attach:raw_tracepoint"),
    _feature("enforcement by error code", "attach:lsm|attach:fmod_ret|helper:override_return"),
    _feature("bcc cells (%%bpf)", "lib:bcc", "btf:vmlinux", "tool:bpftool", better=("attach:kprobe",),
             fallback="tracepoints and raw tracepoints only, no kprobes"),
    _feature("compiling BPF programs", "tool:clang", "tool:bpftool", "btf:vmlinux"),
    _feature("kind back end", "tool:docker", "tool:kind", "tool:kubectl", "cap:sys_resource", "limit:inotify_instances",
             "limit:inotify_watches"),
    _feature("virtual machine lane", "tool:vng", "tool:qemu-system-x86_64"),
)  # fmt: skip


def needs_of(feature: str) -> tuple[str, ...]:
    """Give what a feature of the table needs."""
    for wanted in FEATURES:
        if wanted.name == feature:
            return wanted.needs
    raise UsageError(f"no feature is called {feature!r}", hint="one of: " + ", ".join(one.name for one in FEATURES))


def diagnose(machine: Machine, wanted: Iterable[Wanted]) -> list[Diagnosis]:
    """Say for each wanted thing what is missing on this machine."""
    found = []
    for one in wanted:
        unmet = machine.missing(one.needs)
        unsure = tuple(need for need in unmet if _doubtful(machine, need))
        missing = tuple(need for need in unmet if need not in unsure)
        found.append(Diagnosis(one, missing, unsure, tuple(machine.missing(one.better))))
    return found


def _doubtful(machine: Machine, need: str) -> bool:
    return any(machine[one].answer is Answer.INCONCLUSIVE for one in alternatives(need))


_MARKS = {"open": "yes", "reduced": "yes, reduced", "unsure": "cannot tell", "closed": "no"}


def render(machine: Machine, diagnoses: Sequence[Diagnosis], *, everything: bool = False) -> str:
    """Write the report as text, at most 120 columns where names allow."""
    counts = {answer: sum(1 for one in machine if one.answer is answer) for answer in Answer}
    when = " (kept from an earlier run)" if machine.cached else ""
    sums = ", ".join(f"{count} {answer}" for answer, count in counts.items())
    lines = [f"Linux {machine.kernel}: {len(machine)} things tried{when}: {sums}", ""]
    for kind in ("feature", "lab"):
        rows = [one for one in diagnoses if one.wanted.kind == kind]
        if rows:
            width = max(len(one.wanted.name) for one in rows)
            lines.append({"feature": "Features", "lab": "Labs"}[kind])
            lines += [line for one in rows for line in _row(one, width)]
            lines.append("")
    lines += _mending(machine, diagnoses)
    if everything:
        lines += ["", "Everything that was tried"]
        width = max(len(one.capability) for one in machine)
        lines += [f"  {one.capability:<{width}}  {one.answer:<12}  {one.reason}" for one in machine]
    return "\n".join(lines).rstrip() + "\n"


def _row(one: Diagnosis, width: int) -> list[str]:
    text = f"  {one.wanted.name:<{width}}  {_MARKS[one.state]}"
    if one.missing or one.unsure:
        text += ": lacks " + ", ".join((*one.missing, *one.unsure))
    elif one.without:
        text += f": without {', '.join(one.without)}" + (f" ({one.wanted.fallback})" if one.wanted.fallback else "")
    return [text]


def _mending(machine: Machine, diagnoses: Sequence[Diagnosis]) -> list[str]:
    needs = list(dict.fromkeys(need for one in diagnoses for need in (*one.missing, *one.unsure, *one.without)))
    if not needs:
        return ["Nothing to mend."]
    lines = ["What was found, and how to mend it"]
    for need in needs:
        lines += [f"  {need}", f"    found: {machine.why(need)}", f"    mend:  {mend.advice(need)}"]
    return lines


def as_data(machine: Machine, diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """Give the report as plain data for ``-o json``."""
    return {
        "kernel": machine.kernel,
        "cached": machine.cached,
        "capabilities": {
            one.capability: {"answer": one.answer.value, "reason": one.reason, "tookMs": one.took_ms} for one in machine
        },
        "wanted": [
            {
                "kind": one.wanted.kind,
                "name": one.wanted.name,
                "state": one.state,
                "missing": list(one.missing),
                "unsure": list(one.unsure),
                "without": list(one.without),
                "mend": {need: mend.advice(need) for need in (*one.missing, *one.unsure, *one.without)},
            }
            for one in diagnoses
        ],
    }
