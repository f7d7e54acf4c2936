"""The tables for people say what `ip` says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from glasshive.net import netns, survey

pytestmark = pytest.mark.root


@pytest.fixture
def space() -> Iterator[str]:
    name = f"gh-survey-{os.getpid()}"
    netns.create(name)
    lines = [
        "link set lo up",
        "link add v0 type veth peer name v1",
        "link set v0 mtu 1400 up",
        "link set v1 up",
        "addr add 10.1.2.3/24 dev v0",
        "addr add fd77::3/64 dev v0 nodad",
        "route add 10.9.0.0/16 via 10.1.2.9 metric 7",
        "route add default via fd77::9",
        "neigh add 10.1.2.9 lladdr 02:00:00:00:00:09 dev v0 nud permanent",
    ]
    subprocess.run(["ip", "-n", name, "-batch", "-"], input="\n".join(lines), text=True, check=True)
    yield name
    netns.delete(name)


def ip_json(space: str, *words: str) -> list[dict[str, Any]]:
    said = subprocess.run(["ip", "-n", space, "-j", *words], capture_output=True, text=True, check=True).stdout
    return json.loads(said or "[]")


def test_devices(space: str):
    rows = survey.devices(space)
    wanted = {one["ifname"]: one for one in ip_json(space, "addr")}
    assert [row["name"] for row in rows] == [
        one["ifname"] for one in sorted(wanted.values(), key=lambda o: o["ifindex"])
    ]
    for row in rows:
        said = wanted[row["name"]]
        assert (row["mtu_bytes"], row["mac"]) == (said["mtu"], said["address"])
        assert row["addresses"] == sorted(f"{a['local']}/{a['prefixlen']}" for a in said["addr_info"])
    assert [row["kind"] for row in rows] == ["device", "veth", "veth"]


def test_routes(space: str):
    rows = survey.routes(space)
    assert {"destination": "10.9.0.0/16", "gateway": "10.1.2.9", "device": "v0", "source": "", "metric": 7} in rows
    assert any(row["destination"] == "default" and row["gateway"] == "fd77::9" for row in rows)
    said = ip_json(space, "route") + [one for one in ip_json(space, "-6", "route") if one["dst"] != "anycast"]
    assert {row["destination"] for row in rows} >= {one["dst"] for one in said if "/" in one["dst"]}


def test_neighbours(space: str):
    wanted = {"address": "10.1.2.9", "mac": "02:00:00:00:00:09", "device": "v0", "state": "permanent"}
    assert wanted in survey.neighbours(space)
