"""Which cluster a lab is worked on, and what its manifest may say of it; addresses of small blocks; views at rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from glasshive.errors import ManifestError, UsageError
from glasshive.lab import addresses, clusters
from glasshive.lab.manifest import LabEntry, find_lab, read_labs
from glasshive.model.cluster import NodeStatus, PodStatus
from glasshive.widgets import MapTable

NODES = [
    NodeStatus("node1", pod_cidrs=("10.244.0.0/29", "fd00:10:244::/125")),
    NodeStatus("node2", pod_cidrs=("10.244.0.8/29",)),
]


@pytest.fixture
def own() -> LabEntry:
    return find_lab("03")


def test_a_lab_with_a_topology_has_a_cluster_of_its_own(own: LabEntry) -> None:
    plain = replace(own, topology="")
    assert (clusters.name_of(plain, "lab"), clusters.name_of(own, "lab")) == ("lab", "lab-small-pools")
    made = clusters.config_of(own, "lab")
    assert (made.name, made.node_prefix_lengths) == ("lab-small-pools", {"ipv4": 29, "ipv6": 125})
    assert clusters.config_of(plain, "lab", nodes=5).nodes == 5


def test_every_topology_makes_a_cluster() -> None:
    for entry in read_labs():
        assert clusters.config_of(entry, "labs-1234567").nodes >= entry.nodes


def test_a_base_that_is_too_long_is_refused_in_words(own: LabEntry) -> None:
    with pytest.raises((UsageError, ManifestError), match="name"):
        clusters.config_of(own, "a" * 30)


def test_a_topology_that_is_not_there_is_named(tmp_path: Path, own: LabEntry) -> None:
    text = (own.folder / "labs.toml").read_text(encoding="utf-8").replace('"small_pools"', '"smal_pools"')
    (tmp_path / "labs.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match="lab 03: topology 'smal_pools'"):
        read_labs(tmp_path)


def test_the_grid_says_who_has_what() -> None:
    pods = [PodStatus("web", "default", "node1", addresses=("10.244.0.2", "fd00:10:244::7"))]
    four, six, other = addresses.grid(NODES, pods)
    assert list(four.values()) == ["node1", "IPv4", "network", "router", "web", "-", "-", "-", "-", "broadcast"]
    assert (six["+2"], six["+7"]) == ("-", "web")
    assert (other["node"], other["+2"]) == ("node2", "-")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (("10.244.0.2",), "has 1 addresses"),
        (("10.244.0.1", "fd00:10:244::2"), "no pod address of node1"),
        (("10.244.0.10", "fd00:10:244::2"), "no pod address of node1"),
        (("10.244.0.3", "fd00:10:244::3"), "both have 10.244.0.3"),
        (("10.244.0.4", "fd00:10:244::4"), ""),
    ],
)
def test_addresses_that_cannot_be_are_named(given: tuple[str, ...], word: str) -> None:
    there = PodStatus("web", "default", "node1", addresses=("10.244.0.3", "fd00:10:244::3"))
    found = addresses.troubles(NODES, [there, PodStatus("late", "default", "node1", addresses=given)], 2)
    assert (word in "; ".join(found)) if word else not found


def test_a_view_at_rest_keeps_its_picture() -> None:
    view = MapTable("ipcache", [{"addr": "10.244.0.2"}])
    view.keep_fresh(lambda: (view.state, repr(view)), per_second=10.0)
    view.rest()
    assert view.comm is not None  # closing it would empty the cell that shows it
    assert view.state["rows"] == [["10.244.0.2"]]
    assert not view.state.get("live")
    view.close()
    assert view.comm is None
