"""Devices that a host may lack: the stock kernel has them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def _ip(*argv: str) -> None:
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(argv)}: {done.stderr}"


def check_wireguard_device(_objects: Path) -> None:
    _ip("link", "add", "wg0", "type", "wireguard")
    _ip("link", "delete", "wg0")


def check_geneve_device(_objects: Path) -> None:
    _ip("link", "add", "gnv0", "type", "geneve", "external", "dstport", "6081")
    _ip("link", "delete", "gnv0")


def check_fq_qdisc(_objects: Path) -> None:
    _ip("link", "add", "d0", "type", "dummy")
    done = subprocess.run(
        ["tc", "qdisc", "replace", "dev", "d0", "root", "fq"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    _ip("link", "delete", "d0")
