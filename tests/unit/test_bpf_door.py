"""The package's door: every public name is there, and coming in costs nothing."""

from __future__ import annotations

import subprocess
import sys

from glasshive import bpf


def test_every_name_is_there() -> None:
    for name in bpf.__all__:
        assert getattr(bpf, name) is not None
    assert list(bpf.__all__) == sorted(bpf.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def test_import_takes_neither_numpy_nor_libbpf() -> None:
    script = (
        "import sys, glasshive.bpf, glasshive.bpf.syscall, glasshive.bpf.perf, glasshive.bpf.btf\n"
        "assert 'numpy' not in sys.modules\n"
        "import glasshive.bpf.object, glasshive.bpf.link, glasshive.bpf.ring\n"
        "assert 'libbpf.so' not in open('/proc/self/maps').read()\n"
        "heavy = {'pandas', 'pyroute2', 'kubernetes', 'aiohttp'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
