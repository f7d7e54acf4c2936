"""Whether the datapath objects translate calls of services; tests with traffic need that."""

from __future__ import annotations

import pytest

from glasshive import bpf
from glasshive.agent.config import objects_directory


def translates() -> bool:
    """Without a memory of clients the programs translate nothing."""
    return "affinity" in bpf.ObjectSpec.open(objects_directory() / "host.bpf.o").maps


def needs_translation() -> None:
    """Skip where calls are not translated."""
    if not translates():
        pytest.skip("the datapath objects do not translate calls of services")
