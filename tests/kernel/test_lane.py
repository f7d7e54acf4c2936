"""What the host kernel may lack, shown on a stock kernel in one boot of the virtual machine lane."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from kernel import lane

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow, pytest.mark.timeout(lane.BOOT_SECONDS + 60)]


def checks() -> list[str]:
    """Names of all guest checks, read without importing them: they are made for the guest."""
    names = []
    for source in sorted(lane.GUEST.glob("guest_*.py")):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        names += [f"{source.stem}::{name}" for name in functions if name.startswith("check_")]
    return names


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, lane.Outcome]:
    why = lane.missing()
    if why:
        pytest.skip(f"virtual machine lane: {why}")
    folder: Path = tmp_path_factory.mktemp("lane")
    return lane.boot(folder)


@pytest.mark.parametrize("name", checks())
def test_in_guest(name: str, outcomes: dict[str, lane.Outcome]) -> None:
    outcome = outcomes[name]
    if outcome.outcome == "skipped":
        pytest.skip(outcome.text)
    assert outcome.outcome == "passed", outcome.text
