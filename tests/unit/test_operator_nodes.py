"""Silence of nodes, taints and tolerations, zone hints, Endpoints, load balancers: pure decisions by table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.kube.objects import Object
from glasshive.operator import daemon_set, endpoints, hints, load_balancer, slices
from glasshive.operator.heartbeats import Heartbeats
from glasshive.operator.node_lifecycle import sign_of_life, unheard
from glasshive.operator.taints import NOT_READY, UNREACHABLE, seconds_tolerated, with_condition_taint

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_silence_counts_only_while_the_operator_is_awake() -> None:
    beats = Heartbeats(longest_step=10)
    assert beats.look("n", "a", 0) == 0
    assert beats.look("n", "a", 5) == 5
    assert beats.look("n", "a", 500) == 15  # the operator slept
    assert beats.look("n", "b", 505) == 0
    assert beats.look("n", "b", 512) == 7
    beats.excuse("n", 512)
    assert beats.look("n", "b", 513) == 1
    beats.forget("n")
    assert beats.look("n", "b", 600) == 0


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=30))
def test_silence_is_never_more_than_time_since_the_last_sign(steps: list[tuple[float, bool]]) -> None:
    beats, now, sign, last = Heartbeats(10), 0.0, 0, 0.0
    beats.look("n", "0", now)
    for wait, alive in steps:
        now += wait
        if alive:
            sign, last = sign + 1, now
        assert beats.look("n", str(sign), now) <= now - last + 1e-9


def test_condition_taints_exclude_each_other_and_keep_their_time() -> None:
    own = {"key": "gpu", "effect": "NoSchedule"}
    unready = with_condition_taint([own], NOT_READY)
    assert [(t["key"], t["effect"]) for t in unready] == [
        ("gpu", "NoSchedule"),
        (NOT_READY, "NoSchedule"),
        (NOT_READY, "NoExecute"),
    ]
    old = [{**t, "timeAdded": "2020-01-01T00:00:00Z"} if t["effect"] == "NoExecute" else t for t in unready]
    assert with_condition_taint(old, NOT_READY) == old
    silent = with_condition_taint(old, UNREACHABLE)
    assert {t["key"] for t in silent} == {"gpu", UNREACHABLE}
    assert with_condition_taint(silent, "") == [own]


def tolerating(*tolerations: Object) -> Object:
    return {"spec": {"tolerations": list(tolerations)}}


TAINT = {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2026-01-01T11:59:00Z"}


@pytest.mark.parametrize(
    ("tolerations", "left"),
    [
        ([], 0),
        ([{"operator": "Exists"}], None),
        ([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute"}], None),
        ([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}], 240),
        ([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 30}], 0),
        ([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": -5}], 0),
        ([{"operator": "Exists"}, {"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 90}], 30),
        ([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}], 0),
        ([{"key": "other", "operator": "Exists"}], 0),
        ([{"key": UNREACHABLE, "value": "x"}], 0),
    ],
)
def test_tolerations(tolerations: list[Object], left: float | None) -> None:
    assert seconds_tolerated(tolerating(*tolerations), [TAINT], NOW) == left
    assert seconds_tolerated(tolerating(*tolerations), [{**TAINT, "effect": "NoSchedule"}], NOW) is None


def test_signs_of_life_and_conditions_of_a_silent_node() -> None:
    conditions = [
        {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"},
        {"type": "DiskPressure", "status": "Unknown", "reason": "NodeStatusUnknown", "lastHeartbeatTime": "x",
         "message": "The node stopped posting its status."},
        {"type": "NetworkUnavailable", "status": "False", "lastHeartbeatTime": "2026-01-02T00:00:00Z"},
    ]  # fmt: skip
    node = {"metadata": {"name": "n"}, "status": {"conditions": conditions}}
    lease = {"spec": {"renewTime": "1"}}
    assert sign_of_life(node, lease) != sign_of_life(node, {"spec": {"renewTime": "2"}})
    assert sign_of_life(node, None) != sign_of_life({"metadata": {}}, None)
    after = {c["type"]: c for c in unheard(node)}
    assert {k: c["status"] for k, c in after.items()} == {
        "Ready": "Unknown",
        "DiskPressure": "Unknown",
        "NetworkUnavailable": "False",
    }
    assert after["Ready"]["lastHeartbeatTime"] == "2026-01-01T00:00:00Z"
    assert after["DiskPressure"]["lastHeartbeatTime"] == "x"
    assert unheard({"metadata": {}})[0]["type"] == "Ready"


# -- services


def service(**spec: Any) -> Object:
    annotations = spec.pop("annotations", {})
    meta = {"name": "web", "namespace": "default", "uid": "s", "labels": {"own": "1"}, "annotations": annotations}
    return {"metadata": meta, "spec": {"ipFamilies": ["IPv4"], **spec}}


def endpoint(address: str, zone: str = "", *, ready: bool = True, **more: Any) -> Object:
    conditions = {"ready": ready, "serving": ready, "terminating": False} | more
    made: Object = {"addresses": [address], "conditions": conditions, "nodeName": "n" + address[-1]}
    return made | ({"zone": zone} if zone else {})


AUTO = {hints.TOPOLOGY_MODE: "Auto"}


@pytest.mark.parametrize(
    ("wish", "zones", "hinted"),
    [
        (service(), "ab", 0),
        (service(trafficDistribution="PreferClose"), "aab", 3),
        (service(trafficDistribution="PreferClose"), "aa ", 0),
        (service(trafficDistribution="PreferSameNode"), "  ", 2),
        (service(annotations=AUTO), "ab", 2),
        (service(annotations=AUTO), "aab", 0),
        (service(annotations=AUTO), "aa", 0),
        (service(annotations={hints.TOPOLOGY_MODE: "Disabled"}), "ab", 0),
    ],
)
def test_hints(wish: Object, zones: str, hinted: int) -> None:
    found = [endpoint(f"10.0.0.{i}", zone.strip()) for i, zone in enumerate(zones)]
    hints.add_hints(wish, found)
    assert sum("hints" in e for e in found) == hinted
    for e in found:
        if "hints" in e and e.get("zone"):
            assert e["hints"]["forZones"] == [{"name": e["zone"]}]


def test_endpoints_mirror_slices() -> None:
    ports = [{"name": "", "port": 80, "protocol": "TCP"}]
    found = [
        {"metadata": {"name": "b"}, "addressType": "IPv6", "ports": ports, "endpoints": [endpoint("fd00::1")]},
        {
            "metadata": {"name": "a"},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [
                endpoint("10.0.0.1"),
                endpoint("10.0.0.2", ready=False),
                endpoint("10.0.0.3", ready=False, serving=True, terminating=True),
            ],
        },
    ]
    made = endpoints.desired(service(clusterIP="None"), found)
    (subset,) = made["subsets"]
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1"]
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.2"]
    assert subset["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert made["metadata"]["labels"] == {"own": "1", endpoints.MANAGED_BY: endpoints.MANAGER, slices.HEADLESS: ""}


def test_endpoints_are_capped() -> None:
    many = [endpoint(f"10.0.{i >> 8}.{i & 255}") for i in range(1100)]
    made = endpoints.desired(
        service(), [{"metadata": {"name": "a"}, "addressType": "IPv4", "ports": [], "endpoints": many}]
    )
    assert len(made["subsets"][0]["addresses"]) == endpoints.MOST_ADDRESSES
    assert made["metadata"]["annotations"] == {endpoints.TRUNCATED: "truncated"}


def test_pending_load_balancers() -> None:
    waiting = service(type="LoadBalancer", ports=[{"port": 80, "nodePort": 30080}])
    assert load_balancer.is_pending(waiting)
    assert "CiliumLoadBalancerIPPool" in load_balancer.explain(waiting)
    assert "node port 30080" in load_balancer.explain(waiting)
    assert not load_balancer.is_pending(waiting | {"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}})
    assert not load_balancer.is_pending(service(type="ClusterIP"))
    assert "class x" in load_balancer.explain(service(type="LoadBalancer", loadBalancerClass="x"))


def test_daemons_stay_on_a_silent_node_but_none_is_added() -> None:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": []}}
    meta = {"name": "d", "namespace": "default", "uid": "d"}
    wish = {"metadata": meta, "spec": {"template": template, "selector": {"matchLabels": {"app": "d"}}}}
    nodes = [{"metadata": {"name": name, "labels": {}}, "spec": {}} for name in ("well", "silent", "barred")]
    nodes[1]["spec"]["taints"] = with_condition_taint([], UNREACHABLE)
    nodes[2]["spec"]["taints"] = [{"key": "k", "effect": "NoExecute"}]
    assert daemon_set.plan(wish, nodes, []).create_on == ["well"]
    running = [daemon_set.pod_for(wish, n["metadata"]["name"]) for n in nodes]
    for pod in running:
        pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    todo = daemon_set.plan(wish, nodes, running)
    assert todo.create_on == []
    assert [p["spec"]["nodeName"] for p in todo.remove] == ["barred"]
