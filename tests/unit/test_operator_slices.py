"""EndpointSlices as a pure function of a Service and its pods."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane import node_object
from glasshive.kube.objects import Object
from glasshive.operator.slices import desired_slices, same


def service(*ports: Object, **spec: Any) -> Object:
    listed = list(ports) or [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"selector": {"app": "x"}, "ports": listed, "ipFamilies": ["IPv4", "IPv6"], **spec}
    return {"metadata": {"name": "svc", "namespace": "d", "uid": "s", "labels": {"own": "1"}}, "spec": spec}


def pod(number: int, *, ready: bool = True, node: str = "n1", **more: Any) -> Object:
    containers = [{"name": "c", "ports": [{"name": "web", "containerPort": 9000 + number % 2}]}]
    return {
        "metadata": {"name": f"p{number:04}", "namespace": "d", "uid": f"u{number}", **more},
        "spec": {"nodeName": node, "containers": containers},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": f"10.0.{number >> 8}.{number & 255}"}, {"ip": f"fd00::{number:x}"}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def slices(wish: Object, *pods: Object) -> list[Object]:
    nodes = {"n1": node_object("n1", labels={"topology.kubernetes.io/zone": "east"})}
    return list(desired_slices(wish, pods, nodes.get).values())


def test_one_slice_per_family() -> None:
    v4, v6 = slices(service(), pod(1))
    assert (v4["addressType"], v6["addressType"]) == ("IPv4", "IPv6")
    assert v4["ports"] == [{"name": "", "protocol": "TCP", "port": 8080}]
    assert v4["endpoints"] == [
        {
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "d", "name": "p0001", "uid": "u1"},
            "nodeName": "n1",
            "zone": "east",
        }
    ]
    assert v6["endpoints"][0]["addresses"] == ["fd00::1"]
    assert v4["metadata"]["labels"]["kubernetes.io/service-name"] == "svc"
    assert v4["metadata"]["labels"]["own"] == "1"
    assert v4["metadata"]["ownerReferences"][0]["uid"] == "s"


@pytest.mark.parametrize(
    ("more", "spec", "conditions"),
    [
        ({"ready": False}, {}, (False, False, False)),
        ({"ready": False}, {"publishNotReadyAddresses": True}, (True, False, False)),
        ({"deletionTimestamp": "x"}, {}, (False, True, True)),
        ({"deletionTimestamp": "x", "ready": False}, {}, (False, False, True)),
    ],
)
def test_conditions(more: Any, spec: Any, conditions: tuple[bool, bool, bool]) -> None:
    found = slices(service(**spec), pod(1, **more))[0]["endpoints"][0]["conditions"]
    assert (found["ready"], found["serving"], found["terminating"]) == conditions


def test_a_named_port_that_differs_between_pods_makes_two_slices() -> None:
    wish = service({"name": "http", "port": 80, "targetPort": "web"}, ipFamilies=["IPv4"])
    found = slices(wish, pod(1), pod(2), pod(3))
    assert sorted((s["ports"][0]["port"], len(s["endpoints"])) for s in found) == [(9000, 1), (9001, 2)]


def test_a_named_port_that_nobody_has_leaves_the_port_out() -> None:
    found = slices(service({"name": "http", "port": 80, "targetPort": "nope"}), pod(1))
    assert found[0]["ports"] == []


def test_finished_pods_and_pods_without_address_are_not_there() -> None:
    finished, young = pod(1), pod(2)
    finished["status"]["phase"] = "Succeeded"
    young["status"] = {"phase": "Pending"}
    assert [s["endpoints"] for s in slices(service(), finished, young)] == [[], []]


def test_at_most_a_hundred_endpoints_in_a_slice() -> None:
    found = slices(service(ipFamilies=["IPv4"]), *(pod(i) for i in range(250)))
    assert sorted(len(s["endpoints"]) for s in found) == [50, 100, 100]
    assert len({s["metadata"]["name"] for s in found}) == 3
    assert len({e["addresses"][0] for s in found for e in s["endpoints"]}) == 250


def test_headless_and_hostnames() -> None:
    named = pod(1)
    named["spec"] |= {"hostname": "first", "subdomain": "svc"}
    found = slices(service(clusterIP="None"), named)[0]
    assert "service.kubernetes.io/headless" in found["metadata"]["labels"]
    assert found["endpoints"][0]["hostname"] == "first"


def test_same_ignores_what_the_server_adds() -> None:
    wanted = slices(service(), pod(1))[0]
    stored = wanted | {"metadata": wanted["metadata"] | {"uid": "x", "resourceVersion": "5"}}
    assert same(wanted, stored)
    assert not same(slices(service(), pod(2))[0], stored)
