"""The probe on a stock kernel: it finds there what the host may lack, and misses what that kernel is too old for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from attempts.run import main; sys.exit(main(set()))"
_FOUND: dict[str, dict[str, str]] = {}

# Debian 12's kernel is 6.1: it has all tracing hooks, and neither tcx (6.6) nor netkit (6.7).
THERE = (
    "attach:kprobe", "attach:kretprobe", "attach:fentry", "attach:fexit", "attach:fmod_ret", "attach:lsm",
    "attach:lsm_cgroup", "attach:tp_btf", "attach:raw_tracepoint", "attach:clsact", "attach:cgroup_connect4",
    "attach:uprobe", "link:wireguard", "link:geneve", "link:vxlan", "link:dummy", "qdisc:fq", "qdisc:netem",
    "map_op:batch_hash", "fs:overlay", "cap:sys_resource",
)  # fmt: skip
NOT_THERE = ("attach:tcx", "attach:netkit", "link:netkit")


def _findings() -> dict[str, dict[str, str]]:
    """Probe once; both checks look at the same answers."""
    if not _FOUND:
        library = next(Path(one) for one in sys.path if (Path(one) / "glasshive").is_dir())
        folder = library / "glasshive" / "bpf" / "probe"
        command = [sys.executable, "-S", "-I", "-B", "-c", _CHILD, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        _FOUND.update({row["capability"]: row for row in rows if "capability" in row})
    return _FOUND


def check_the_probe_finds_what_a_stock_kernel_has(_objects: Path) -> None:
    found = _findings()
    wrong = {name: found[name]["reason"] for name in THERE if found[name]["answer"] != "supported"}
    assert not wrong, wrong


def check_the_probe_misses_what_came_later(_objects: Path) -> None:
    found = _findings()
    wrong = {name: found[name] for name in NOT_THERE if found[name]["answer"] != "not"}
    assert not wrong, wrong
