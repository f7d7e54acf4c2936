"""The virtual machine lane: one boot of a stock kernel in which all guest checks run.

The host's file system is the guest's, read-only; results come back through one writable folder (virtme-ng's console
needs udev, which a lab machine need not have). Software emulation is enough: a boot takes about 13 s.
The kernel is unpacked by ``.setup/setup.sh test`` into ``.setup/vm``; nothing of it is installed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from glasshive.bpf.probe.tools import find_program

ROOT = Path(__file__).resolve().parents[2]
GUEST = Path(__file__).parent / "guest"
PROGS = Path(__file__).parent / "progs"
MULTIARCH = f"{platform.machine()}-linux-gnu"  # where Debian keeps the asm/ headers
BOOT_SECONDS = 300  # an emulated machine on a busy host


@dataclass(frozen=True)
class Outcome:
    """What one guest check came to: ``passed``, ``failed`` or ``skipped``, and why."""

    outcome: str
    text: str


def kernel() -> Path | None:
    """The unpacked stock kernel, or None."""
    found = sorted((ROOT / ".setup" / "vm" / "boot").glob("vmlinuz-*"))
    return found[-1] if found else None


def missing() -> str:
    """Why the lane cannot run here, in words; empty when it can."""
    if kernel() is None:
        return "no stock kernel below .setup/vm (`make setup-test` unpacks one)"
    tools = [tool for tool in ("qemu-system-x86_64", "depmod", "clang", "bpftool") if not find_program(tool)]
    return f"missing: {', '.join(tools)} (`make setup-test` installs them)" if tools else ""


def compile_programs(folder: Path) -> None:
    """Compile the guest's programs on the host, against the host's BTF: CO-RE fits them to the guest's kernel."""
    bpftool = find_program("bpftool")
    assert bpftool is not None
    with (folder / "vmlinux.h").open("w", encoding="utf-8") as header:
        subprocess.run(
            [bpftool, "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"], stdout=header, check=True
        )
    for source in PROGS.glob("*.bpf.c"):
        target = folder / source.name.replace(".bpf.c", ".bpf.o")
        includes = [f"-I{folder}", f"-I/usr/include/{MULTIARCH}"]
        flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86", *includes]
        subprocess.run(["clang", *flags, "-c", str(source), "-o", str(target)], check=True)


def boot(folder: Path) -> dict[str, Outcome]:
    """Boot once, run every check of guest/, return the outcomes by name ("module::function")."""
    compile_programs(folder)
    script = folder / "run.sh"
    script.write_text(
        f"#!/bin/sh\nexec {sys.executable} -I {GUEST / 'run.py'} {ROOT / 'lib'} {folder} > {folder}/console 2>&1\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["vng", "--run", str(kernel()), "--force-9p", "--disable-kvm", "--memory", "1G", "--cpus", "1",
         f"--rwdir={folder}={folder}", "--cwd", "/", "--exec", str(script)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOOT_SECONDS, check=False, env=environment,
    )  # fmt: skip
    results = folder / "results.json"
    if not results.exists():
        console = (folder / "console").read_text(encoding="utf-8") if (folder / "console").exists() else ""
        raise RuntimeError(f"the guest left no results (vng ended with {done.returncode}):\n{done.stderr}\n{console}")
    said = json.loads(results.read_text(encoding="utf-8"))
    return {name: Outcome(**value) for name, value in said.items()}
