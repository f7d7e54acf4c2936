"""Without the rights, every step says so in one line that names what is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bpf_objects

pytestmark = pytest.mark.root
NOBODY = 65534


@pytest.mark.parametrize(
    "step",
    [
        "bpf.ObjectSpec(data, 'slice').load()",
        "bpf.Map.create(bpf.MapType.HASH, 4, 4, 1)",
        "bpf.inspect.programs()",
        "bpf.link.uprobe(bpf.Program(-1, name='none'), sys.executable, 0)",
    ],
)
def test_step_without_rights(step: str) -> None:
    data = bpf_objects.compiled("slice").read_bytes()
    # The modules are imported first: another user may not be allowed to read the checkout.
    script = f"""
import os, sys
from glasshive import bpf
from glasshive.bpf import batch, inspect, libbpf, link, map, object, program
from glasshive.errors import PermissionNeededError
libbpf.library()
data = sys.stdin.buffer.read()
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
try:
    {step}
except PermissionNeededError as error:
    print(error)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "lib")}
    done = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=False, env=env)
    assert b"needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN" in done.stdout, done.stderr.decode()
    assert done.stdout.count(b"\n") == 1
