"""Fixtures that every kind of test shares: which tests this machine can run, and that none leaves anything behind."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason in words, what needs rights this session lacks."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root: network namespaces and BPF programs (run with sudo)")
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much the differential tests of policy have compared."""
    from policy_tally import TALLY

    for line in TALLY.lines():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout's top folder."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def _no_progress() -> Iterator[None]:
    """Tests are nobody's learning: only those about progress name a file of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLASSHIVE_PROGRESS", "off")
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_residue() -> Iterator[None]:
    """Fail the session when a test leaves a program, pin, namespace, cgroup or process behind."""
    if os.geteuid() != 0:
        yield
        return
    import residue

    before = residue.snapshot()
    yield
    # The kernel frees maps and namespaces in the background, and a garbage cycle may still hold the last test's ring.
    deadline = time.monotonic() + 30
    while left := residue.diff(before, residue.snapshot()):
        gc.collect()
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if left:
        pytest.fail("the tests left these behind:\n  " + "\n  ".join(left), pytrace=False)
