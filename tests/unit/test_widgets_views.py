"""Views over model values: what the browser gets, the text twin, live updates. No browser, no root."""

from __future__ import annotations

import json
import threading
import time

import pytest

from glasshive.errors import NotFoundError, UsageError
from glasshive.model.cluster import NodeStatus, PodStatus, Topology
from glasshive.model.traffic import DropCount, Snapshot, Traffic
from glasshive.widgets import DropsChart, MapTable, TopologyView, drops, map_table, topology
from glasshive.widgets.view import STATIC

WEB = PodStatus("web", "default", "node1", "Running", ready=True, addresses=("10.244.0.5", "fd00:10:244::5"))
SLOW = PodStatus("slow", "shop", "node1", "ContainerCreating")
LOST = PodStatus("lost", "default", "", "Pending")
SHOWN = Topology(
    "hive",
    "native",
    (
        NodeStatus("node1", ready=True, addresses=("172.30.0.11",), pod_cidrs=("10.244.0.0/24",)),
        NodeStatus("node2", reason="not reported yet"),
    ),
    (SLOW, WEB, LOST),
    ("203.0.113.10",),
)
TEXT = """cluster hive: native routing, 2 nodes, 3 pods
  node1 ready 172.30.0.11, pods from 10.244.0.0/24
    default/web ready 10.244.0.5 fd00:10:244::5
    shop/slow containercreating
  node2 not ready
  on no node
    default/lost pending
  world outside 203.0.113.10"""


def test_the_text_twin_says_what_the_picture_says() -> None:
    view = TopologyView(SHOWN)
    assert repr(view) == TEXT
    bundle = view._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == TEXT
    assert "application/vnd.jupyter.widget-view+json" in data
    assert view.state["alt"] == TEXT
    view.close()


def test_rates_are_per_second_between_two_snapshots() -> None:
    before = Snapshot(SHOWN, {"default/web": Traffic(10, 100, 5, 50)}, taken_s=1.0)
    now = Snapshot(SHOWN, {"default/web": Traffic(30, 300, 25, 250)}, taken_s=3.0)
    pod = topology.picture(now, before)["nodes"][0]["pods"][0]
    assert (pod["packetsIn"], pod["packetsOut"], pod["rate"]) == (30, 25, 20.0)
    again = Snapshot(SHOWN, {"default/web": Traffic(1, 1, 0, 0)}, taken_s=4.0)
    assert topology.picture(again, now)["nodes"][0]["pods"][0]["rate"] == 0
    assert topology.picture(now, None)["nodes"][0]["pods"][0]["rate"] == 0.0


def test_live_updates_come_from_a_thread_and_end() -> None:
    view = TopologyView(SHOWN)
    seen = threading.Event()
    clock = iter(range(1000))

    def fetch() -> Snapshot:
        number = next(clock)
        if number > 2:
            seen.set()
        return Snapshot(SHOWN, {"default/web": Traffic(number)}, taken_s=float(number))

    view.live(fetch, per_second=10)
    assert seen.wait(5)
    assert view.state["live"] is True
    view.stop()
    kept = view.state
    time.sleep(0.25)
    assert view.state == kept
    assert kept["live"] is False
    view.close()


def test_a_failing_source_is_shown_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    view = TopologyView(SHOWN)

    def fetch() -> Snapshot:
        raise NotFoundError("there is no cluster hive")

    view.live(fetch, per_second=10)
    thread = view._thread
    assert thread is not None
    thread.join(5)
    assert not thread.is_alive()
    assert view.state["problem"] == "there is no cluster hive"
    assert capfd.readouterr() == ("", "")
    view.close()


@pytest.mark.parametrize("rate", [0, -1, 21])
def test_the_pace_has_limits(rate: float) -> None:
    view = TopologyView(SHOWN)
    with pytest.raises(UsageError, match="at most 20"):
        view.live(lambda: Snapshot(SHOWN), per_second=rate)
    view.close()


ROWS = [{"ip": "10.244.0.5", "identity": 1000, "big": 2**60}, {"ip": "10.244.0.6", "flags": ["a"]}]


def test_a_map_as_a_table() -> None:
    view = MapTable("ipcache of node1", ROWS)
    assert repr(view) == (
        "ipcache of node1: 2 entries\n"
        "  ip          identity  big                  flags\n"
        "  10.244.0.5  1000      1152921504606846976\n"
        '  10.244.0.6                                 ["a"]'
    )
    assert view.state["columns"] == ["ip", "identity", "big", "flags"]
    assert view.state["rows"][0] == ["10.244.0.5", 1000, "1152921504606846976", ""]
    json.dumps(view.state)
    view.update([])
    assert repr(view) == "ipcache of node1: 0 entries"
    view.close()


def test_a_long_map_is_cut_and_says_so() -> None:
    many = [{"n": number} for number in range(1500)]
    assert map_table.text("many", many).endswith("... and 1480 more")
    assert len(map_table.table("many", many)["rows"]) == 1000
    assert map_table.table("many", many)["count"] == 1500


DROPPED = [
    DropCount("node1", "POLICY_DENIED", "ingress", 3, 252),
    DropCount("node2", "POLICY_DENIED", "egress", 2, 168),
    DropCount("node2", "INVALID_PACKET", "ingress", 9, 100),
]


def test_the_drops_chart_has_a_twin_in_text() -> None:
    chart = DropsChart(DROPPED)
    assert repr(chart) == ("dropped packets: 14\n  INVALID_PACKET  9 ingress\n  POLICY_DENIED   2 egress, 3 ingress")
    bundle = chart._repr_mimebundle_()
    assert bundle["text/plain"] == repr(chart)
    plot = bundle["application/vnd.plotly.v1+json"]
    assert [trace["name"] for trace in plot["data"]] == ["egress", "ingress"]
    assert plot["data"][1]["x"] == [9, 3]
    assert repr(DropsChart([])) == "dropped packets: none"
    assert DropsChart([])._repr_mimebundle_()["text/plain"] == "dropped packets: none"


def test_drops_between_two_readings() -> None:
    later = [DropCount("node1", "POLICY_DENIED", "ingress", 5, 400), *DROPPED[1:]]
    assert drops.since(later, DROPPED) == [DropCount("node1", "POLICY_DENIED", "ingress", 2, 148)]
    assert drops.since(DROPPED, []) == DROPPED


def test_scripts_fetch_nothing() -> None:
    for script in STATIC.iterdir():
        text = script.read_text(encoding="utf-8")
        assert "://" not in text, script
        assert "fetch(" not in text, script
        assert "import " not in text, script
