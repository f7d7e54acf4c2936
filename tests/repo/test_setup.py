"""The set-up script's decisions, with the package tools played: other distributions, and machines that know nothing.

A pipe into a reader that stops early, or a question answered with a failure, ends a script under ``set -e`` and
``pipefail``: both have made fresh machines fail.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

APT_CACHE = """#!/bin/bash
# apt-cache depends|policy NAME: answers from the folder "lists", at length, and fails for what it does not know
file="$(dirname "$0")/lists/$1-$2"
[ -r "$file" ] || { echo "E: No packages found" >&2; exit 100; }
cat "$file"
for n in $(seq 20000); do echo "  Suggests: something-$n"; done
"""


class Machine:
    """A PATH on which the package tools are ours."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root
        (folder / "lists").mkdir(parents=True)
        self.program("apt-cache", APT_CACHE)

    def program(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")
        (self._folder / name).chmod(0o755)

    def knows(self, question: str, package: str, answer: str) -> None:
        (self._folder / "lists" / f"{question}-{package}").write_text(answer, encoding="utf-8")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Call a function of the script."""
        environment = os.environ | {"PATH": f"{self._folder}:{os.environ['PATH']}"}
        script = f"source {self._root}/.setup/setup.sh; {' '.join(words)}"
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def machine(tmp_path: Path, project_root: Path) -> Machine:
    return Machine(tmp_path / "bin", project_root)


def test_debians_kernel(machine: Machine) -> None:
    machine.knows("depends", "linux-image-amd64", "linux-image-amd64\n  Depends: linux-image-6.1.0-37-amd64\n")
    machine.knows("depends", "linux-image-6.1.0-37-amd64", "linux-image-6.1.0-37-amd64\n  Depends: kmod\n")
    done = machine.run("stock_kernel")
    assert (done.returncode, done.stdout.split()) == (0, ["linux-image-6.1.0-37-amd64"])


def test_ubuntus_kernel_and_its_modules(machine: Machine) -> None:
    image = "linux-image-6.8.0-60-generic"
    machine.knows(
        "depends", "linux-image-generic", f"linux-image-generic\n  Depends: {image}\n  Depends: linux-firmware\n"
    )
    machine.knows("depends", image, f"{image}\n  Depends: kmod\n  Depends: linux-modules-6.8.0-60-generic\n")
    done = machine.run("stock_kernel")
    assert (done.returncode, done.stdout.split()) == (0, [image, "linux-modules-6.8.0-60-generic"])


def test_a_machine_without_lists_knows_no_kernel_and_goes_on(machine: Machine) -> None:
    done = machine.run("stock_kernel; echo goes on")
    assert (done.returncode, done.stdout.split()) == (0, ["goes", "on"])


def test_the_bpftool_that_runs_is_taken(machine: Machine, tmp_path: Path) -> None:
    machine.program("bpftool", "#!/bin/sh\nexit 0\n")
    assert machine.run("working_bpftool").stdout == f"{tmp_path}/bin/bpftool\n"
    machine.program("bpftool", "#!/bin/sh\necho 'WARNING: bpftool not found for kernel 6.8.0-1' >&2; exit 2\n")
    other = machine.run("working_bpftool")
    assert other.returncode == 0
    assert other.stdout != f"{tmp_path}/bin/bpftool\n"


def test_packages_that_are_there_under_either_name_are_not_wanted(machine: Machine) -> None:
    machine.program(
        "dpkg-query", "#!/bin/sh\necho 'linux-tools-generic install ok installed'\necho 'make install ok installed'\n"
    )
    wanted = machine.run("missing_packages").stdout.split()
    assert "clang" in wanted
    assert "dnsutils|bind9-dnsutils" in wanted
    assert not {"make", "bpftool|linux-tools-generic", "qemu-system-x86"} & set(wanted)
