"""How large a node's tables are, by the size of its cluster."""

from __future__ import annotations

import pytest

from glasshive.cluster.embedded.node_process import map_entries


@pytest.mark.parametrize(("nodes", "entries"), [(17, 32768), (33, 16384), (100, 8192), (1000, 4096)])
def test_large_clusters_have_smaller_tables(nodes: int, entries: int) -> None:
    assert map_entries(nodes) == {"conntrack": entries, "nat": entries}


def test_small_clusters_take_what_the_objects_say() -> None:
    assert map_entries(3) == map_entries(16) == {}
