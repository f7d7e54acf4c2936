"""The panel's server on a real cluster: green when the pod is there, red again when it goes, gone after the reset."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import glasshive
from glasshive.cluster import Cluster
from glasshive.errors import UsageError
from glasshive.lab.kit import Lab
from glasshive.lab.panel import client, server

CLUSTER = f"panel-{os.getpid()}"
DEADLINE_SECONDS = 60.0

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: labs run on a cluster of network namespaces"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(CLUSTER, nodes=3) as made:
        yield made


def until(heard: Iterator[tuple[str, Any]], right: Callable[[str, Any], bool]) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    for name, content in heard:
        if right(name, content):
            return content
        assert time.monotonic() < deadline, content
    raise AssertionError("the server stopped talking")


def shows(verdict: str) -> Callable[[str, Any], bool]:
    return lambda name, content: name == "board" and content["tasks"][0]["verdict"] == verdict


def test_the_panel_follows_the_real_state(cluster: Cluster) -> None:
    lab: Lab = glasshive.lab("01", cluster=cluster.name)
    task = lab.task("plug-in")
    panel = lab.panel()
    address = client.find(cluster.name, "01")
    assert address is not None
    assert (address.url, address.token) == (panel.state["url"], panel.state["token"])
    assert lab.panel().state["url"] == address.url  # one server for all who show the lab
    assert server.address_file(cluster.name, "01").stat().st_mode & 0o77 == 0
    heard = client.listen(address)
    assert until(heard, shows("fail"))["tasks"][0]["word"] == "not so yet"
    lab.pod(task["pod"], node=task["node"])
    assert until(heard, shows("pass"))["tasks"][0]["earned"] == 100
    cluster.delete("pod", task["pod"], lab.namespace)
    assert until(heard, shows("fail"))["tasks"][0]["word"] == "broken again"
    lab.reset()
    assert until(heard, lambda name, _: name == "end") == {"why": server.RESET}
    deadline = time.monotonic() + DEADLINE_SECONDS
    while os.path.exists(f"/proc/{address.pid}") or server.address_file(cluster.name, "01").exists():  # noqa: PTH110
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.find(cluster.name, "01") is None


def test_a_lab_without_tasks_has_no_panel(cluster: Cluster) -> None:
    lab = glasshive.lab("00", cluster=cluster.name)
    with pytest.raises(UsageError, match="lab 00 has no tasks to watch"):
        lab.panel()
