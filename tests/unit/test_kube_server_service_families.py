"""Address families and addresses of Services between versions: rules on plain objects, and through the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.kube.server.service_family import settle
from kube_server import MERGE, Http, run

DUAL = ("IPv4", "IPv6")
FOUR, SIX = "10.96.0.9", "fd00:10:96::9"
SERVICES = "/api/v1/namespaces/default/services"


def stored(*ips: str, **more: Any) -> dict[str, Any]:
    """A Service's spec as it is stored."""
    families = ["IPv6" if ":" in ip else "IPv4" for ip in ips]
    policy = "RequireDualStack" if len(ips) > 1 else "SingleStack"
    given = {"clusterIP": ips[0], "clusterIPs": list(ips), "ipFamilies": families, "ipFamilyPolicy": policy}
    return {"type": "ClusterIP", **given, **more}


@pytest.mark.parametrize(
    ("spec", "before", "families", "policy", "ips"),
    [
        ({}, None, ["IPv4"], "SingleStack", []),
        ({"ipFamilyPolicy": "PreferDualStack"}, None, ["IPv4", "IPv6"], "PreferDualStack", []),
        (
            {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "RequireDualStack"},
            None,
            ["IPv6", "IPv4"],
            "RequireDualStack",
            [],
        ),
        ({"ipFamilies": ["IPv6", "IPv4"]}, None, ["IPv6", "IPv4"], "RequireDualStack", []),
        ({"clusterIP": SIX}, None, ["IPv6"], "SingleStack", [SIX]),
        ({"clusterIPs": [FOUR, SIX]}, None, ["IPv4", "IPv6"], "RequireDualStack", [FOUR, SIX]),
        ({"clusterIP": "None", "selector": {"a": "b"}}, None, ["IPv4"], "SingleStack", ["None"]),
        ({"clusterIP": "None"}, None, ["IPv4", "IPv6"], "RequireDualStack", ["None"]),
        ({}, stored(FOUR), ["IPv4"], "SingleStack", [FOUR]),
        ({"clusterIP": FOUR}, stored(FOUR, SIX), ["IPv4", "IPv6"], "RequireDualStack", [FOUR, SIX]),
        (stored(FOUR, ipFamilyPolicy="PreferDualStack"), stored(FOUR), ["IPv4", "IPv6"], "PreferDualStack", [FOUR]),
        (stored(FOUR, SIX, ipFamilyPolicy="SingleStack"), stored(FOUR, SIX), ["IPv4"], "SingleStack", [FOUR]),
        ({}, {"type": "ExternalName"}, ["IPv4"], "SingleStack", []),
    ],
)
def test_what_a_service_gets(
    spec: dict[str, Any], before: dict[str, Any] | None, families: list[str], policy: str, ips: list[str]
) -> None:
    assert settle(spec, before, DUAL) == []
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"], spec["clusterIPs"]) == (families, policy, ips)


@pytest.mark.parametrize(
    ("spec", "before", "available", "why"),
    [
        ({"clusterIP": "10.96.3.3"}, stored(FOUR), DUAL, "may not change once set"),
        ({"clusterIP": "None"}, stored(FOUR), DUAL, "may not change once set"),
        ({"clusterIP": FOUR}, stored("None", ipFamilies=["IPv4"]), DUAL, "may not change once set"),
        (stored(FOUR, "fd00:10:96::7"), stored(FOUR, SIX), DUAL, "may not change once set"),
        ({"ipFamilies": ["IPv6"]}, stored(FOUR), DUAL, "may not change once set"),
        ({"clusterIPs": [FOUR]}, stored(FOUR, SIX), DUAL, "'SingleStack' to release"),
        ({"clusterIP": FOUR, "ipFamilies": ["IPv4"]}, stored(FOUR, SIX), DUAL, "'SingleStack' to release"),
        ({"clusterIP": FOUR, "clusterIPs": [SIX]}, None, DUAL, "first value must match"),
        ({"clusterIPs": ["None", FOUR]}, None, DUAL, "only value"),
        ({"clusterIPs": [FOUR, "10.96.0.10"]}, None, DUAL, "one address family each"),
        ({"clusterIP": SIX, "ipFamilies": ["IPv4"]}, None, DUAL, "expected an IPv4 value"),
        ({"clusterIP": "there"}, None, DUAL, "must be an IP address"),
        ({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "SingleStack"}, None, DUAL, "must be RequireDualStack"),
        ({"ipFamilies": ["IPv4", "IPv4"]}, None, DUAL, "Duplicate"),
        ({"ipFamilies": ["IPX"]}, None, DUAL, "Unsupported"),
        ({"ipFamilyPolicy": "RequireDualStack"}, None, ("IPv4",), "only IPv4"),
        ({"ipFamilies": ["IPv6"]}, None, ("IPv4",), "only IPv4"),
        ({"type": "ExternalName", "clusterIP": FOUR}, None, DUAL, "ExternalName"),
    ],
)
def test_what_is_refused(
    spec: dict[str, Any], before: dict[str, Any] | None, available: tuple[str, ...], why: str
) -> None:
    faults = settle(spec, before, available)
    assert faults
    assert re.search(why, str(faults[0])), faults


LISTS = st.lists(st.sampled_from(["None", FOUR, SIX, "10.96.0.10", ""]), max_size=3)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["ClusterIP", "ExternalName", "NodePort"]),
        "clusterIP": st.sampled_from(["", "None", FOUR, SIX]),
        "clusterIPs": LISTS,
        "ipFamilies": st.lists(st.sampled_from(["IPv4", "IPv6"]), max_size=3),
        "ipFamilyPolicy": st.sampled_from(["SingleStack", "PreferDualStack", "RequireDualStack"]),
    },
)


@given(SPECS, st.sampled_from([None, stored(FOUR), stored(FOUR, SIX), stored("None", ipFamilies=["IPv4"])]))
def test_whatever_is_asked_the_answer_holds_together(spec: dict[str, Any], before: dict[str, Any] | None) -> None:
    if settle(spec, before, DUAL) or spec.get("type") == "ExternalName":
        return
    families, ips = spec["ipFamilies"], spec["clusterIPs"]
    assert 1 <= len(families) == len(set(families)) <= 2
    assert len(families) == (1 if spec["ipFamilyPolicy"] == "SingleStack" else 2)
    assert ips == ["None"] or all((":" in ip) == (family == "IPv6") for ip, family in zip(ips, families, strict=False))
    if before is not None and ips:
        assert ips[0] == before["clusterIPs"][0]


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}, **spec}}


async def changed(http: Http, **spec: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await http("PATCH", SERVICES + "/s", {"spec": spec}, MERGE)).ok()
    return answer["spec"]


def test_a_service_changes_its_type_and_families(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        first = (await http("POST", SERVICES, service("s"))).ok()["spec"]
        node_port = await changed(http, type="NodePort")
        assert node_port["clusterIP"] == first["clusterIP"]
        number = node_port["ports"][0]["nodePort"]
        balancer = await changed(http, type="LoadBalancer", externalTrafficPolicy="Local")
        assert balancer["ports"][0]["nodePort"] == number
        health = balancer["healthCheckNodePort"]
        assert 30000 <= health <= 32767
        assert health != number
        other = service("other", type="NodePort", ports=[{"port": 1, "nodePort": health}])
        assert "already allocated" in (await http("POST", SERVICES, other)).refused(422, "Invalid")
        moved = {"spec": {"healthCheckNodePort": 30001}}
        assert "immutable" in (await http("PATCH", SERVICES + "/s", moved, MERGE)).refused(422, "Invalid")
        cluster = await changed(http, type="ClusterIP")
        for name in ("healthCheckNodePort", "externalTrafficPolicy", "allocateLoadBalancerNodePorts"):
            assert name not in cluster
        assert "nodePort" not in cluster["ports"][0]
        (await http("POST", SERVICES, other)).ok()
        both = await changed(http, ipFamilyPolicy="PreferDualStack")
        assert both["ipFamilies"] == ["IPv4", "IPv6"]
        assert both["clusterIPs"][0] == first["clusterIP"]
        second = both["clusterIPs"][1]
        single = await changed(http, ipFamilyPolicy="SingleStack")
        assert single["clusterIPs"] == [first["clusterIP"]]
        (await http("POST", SERVICES, service("takes", clusterIP=second))).ok()
        name = await changed(http, type="ExternalName", externalName="a.example")
        assert "clusterIP" not in name
        (await http("POST", SERVICES, service("again", clusterIP=first["clusterIP"]))).ok()
        back = await changed(http, type="ClusterIP")
        assert back["clusterIP"] not in {"", first["clusterIP"]}
        await changed(http, type="ExternalName", externalName="a.example")
        headless = await changed(http, type="ClusterIP", clusterIP="None")
        assert headless["clusterIPs"] == ["None"]

    run(tmp_path, test)
    # A new server over the same store: what is held is held.

    async def later(http: Http) -> None:
        taken = (await http("GET", SERVICES + "/other")).ok()["spec"]["ports"][0]["nodePort"]
        wish = service("late", type="NodePort", ports=[{"port": 1, "nodePort": taken}])
        assert "already allocated" in (await http("POST", SERVICES, wish)).refused(422, "Invalid")

    run(tmp_path, later)
