"""What a node's tables are for Services of every kind: pure, in text."""

from __future__ import annotations

from typing import Any

import pytest

from glasshive.api.service import read_host_ports, read_service, read_slice
from glasshive.model.address import parse
from glasshive.model.service import TYPE_NAMES, BackendSet, Frontend, FrontendFlag, ServiceTables
from glasshive.service.desired import desired, host_ports
from glasshive.service.settings import NodeView, ServiceSettings
from service_tables import endpoint, service, slice_of

NODE1 = NodeView("node1", zone="a")


def tables(obj: dict[str, Any], *slices: dict[str, Any], node: NodeView = NODE1, **settings: Any) -> ServiceTables:
    parts = [part for part in map(read_slice, slices) if part is not None]
    return desired(read_service(obj), parts, node, ServiceSettings(**settings))


def text(frontend: Frontend) -> str:
    def members(found: BackendSet) -> str:
        return ",".join(f"{place.address[-1]}" + (f"*{weight}" if weight != 1 else "") for place, weight in found)

    flags = "+".join(flag.name.lower() for flag in FrontendFlag(frontend.flags) if flag.name)
    inside, outside = members(frontend.internal), members(frontend.external)
    return f"{TYPE_NAMES[frontend.type]} {frontend.place} {flags or '-'} {inside or '-'}|{outside or '-'}"


def texts(found: ServiceTables) -> list[str]:
    return [text(one) for one in found.frontends]


def balancer(*ips: str, **spec: Any) -> dict[str, Any]:
    obj = service("web", "80:30080", type="LoadBalancer", clusterIP="10.96.0.9", ipFamilies=["IPv4"], **spec)
    obj["status"] = {"loadBalancer": {"ingress": [{"ip": ip} for ip in ips]}}
    return obj


HERE, THERE = endpoint("10.244.1.1", "node1", zone="a"), endpoint("10.244.2.2", "node2", zone="b")


def test_every_kind_of_frontend_of_one_service() -> None:
    obj = balancer("192.0.2.7", externalIPs=["192.0.2.8"])
    assert texts(tables(obj, slice_of("web", [HERE, THERE]))) == [
        "ClusterIP 10.96.0.9:80/TCP - 1,2|1,2",
        "NodePort 0.0.0.0:30080/TCP routable 1,2|1,2",
        "ExternalIPs 192.0.2.8:80/TCP routable 1,2|1,2",
        "LoadBalancer 192.0.2.7:80/TCP routable 1,2|1,2",
    ]


def test_both_families_each_with_its_own_backends() -> None:
    obj = service("web", "80:30080", type="NodePort", clusterIPs=["10.96.0.9", "fd00:10:96::9"],
                  ipFamilies=["IPv4", "IPv6"])  # fmt: skip
    six = slice_of("web", [endpoint("fd00:10:244:1::6", "node1")], family="IPv6")
    assert texts(tables(obj, slice_of("web", [HERE]), six)) == [
        "ClusterIP 10.96.0.9:80/TCP - 1|1",
        "NodePort 0.0.0.0:30080/TCP routable 1|1",
        "ClusterIP [fd00:10:96::9]:80/TCP - 6|6",
        "NodePort [::]:30080/TCP routable 6|6",
    ]
    only = NodeView("node1", ipv6=False)
    assert [one for one in texts(tables(obj, slice_of("web", [HERE]), six, node=only)) if "[" in one] == []


def test_traffic_policies() -> None:
    obj = balancer("192.0.2.7", externalTrafficPolicy="Local")
    found = texts(tables(obj, slice_of("web", [HERE, THERE]), mode="dsr"))
    assert found[0] == "ClusterIP 10.96.0.9:80/TCP - 1,2|1,2"
    assert found[2] == "LoadBalancer 192.0.2.7:80/TCP external_local+routable 1,2|1"
    obj = service("web", clusterIP="10.96.0.9", internalTrafficPolicy="Local")
    assert texts(tables(obj, slice_of("web", [HERE, THERE]))) == ["ClusterIP 10.96.0.9:80/TCP internal_local 1|1"]
    # Nobody here, but somebody elsewhere: calls get no answer, as with kube-proxy.
    assert texts(tables(obj, slice_of("web", [THERE]))) == ["ClusterIP 10.96.0.9:80/TCP internal_local -|-"]
    assert texts(tables(obj)) == ["ClusterIP 10.96.0.9:80/TCP internal_local+reject -|-"]
    assert texts(tables(obj, no_backend="drop")) == ["ClusterIP 10.96.0.9:80/TCP internal_local -|-"]


@pytest.mark.parametrize(
    ("states", "chosen"),
    [
        (["ready", "unready", "terminating"], "1"),
        (["unready", "terminating", "gone"], "2"),
        (["unready", "gone"], "-"),
        (["terminating", "terminating"], "1,2"),
    ],
)
def test_ready_endpoints_or_else_those_that_serve_to_the_end(states: list[str], chosen: str) -> None:
    ends = [endpoint(f"10.244.1.{at}", "node1", state=state) for at, state in enumerate(states, 1)]
    found = tables(service("web", clusterIP="10.96.0.9"), slice_of("web", ends))
    assert texts(found)[0].endswith(f" {chosen}|{chosen}")
    assert len(found.backends) == len(states), "backends that get nothing new keep their connections"


def test_hints_count_only_when_all_have_one_and_one_is_for_this_zone() -> None:
    def hinted(*zones: str) -> list[dict[str, Any]]:
        return [
            endpoint(f"10.244.1.{at}", f"node{at}", **({"hints": {"forZones": [{"name": zone}]}} if zone else {}))
            for at, zone in enumerate(zones, 1)
        ]

    obj = service("web", clusterIP="10.96.0.9")
    assert texts(tables(obj, slice_of("web", hinted("a", "b", "a"))))[0].endswith(" 1,3|1,3")
    assert texts(tables(obj, slice_of("web", hinted("a", "b", ""))))[0].endswith(" 1,2,3|1,2,3")
    assert texts(tables(obj, slice_of("web", hinted("b", "c"))))[0].endswith(" 1,2|1,2")
    assert texts(tables(obj, slice_of("web", hinted("a", "b")), node=NodeView("node1")))[0].endswith(" 1,2|1,2")
    assert texts(tables(obj, slice_of("web", hinted("a", "b")), topology=False))[0].endswith(" 1,2|1,2")
    near = [endpoint(f"10.244.1.{at}", f"node{at}", hints={"forNodes": [{"name": f"node{at}"}]}) for at in (1, 2)]
    assert texts(tables(obj, slice_of("web", near)))[0].endswith(" 1|1")


def test_affinity_source_ranges_and_annotations() -> None:
    obj = balancer(
        "192.0.2.7", sessionAffinity="ClientIP", loadBalancerSourceRanges=["192.0.2.0/24", "2001:db8::/32", "no"],
        annotations={
            "service.cilium.io/type": "LoadBalancer", "service.cilium.io/lb-algorithm": "maglev",
            "service.cilium.io/forwarding-mode": "dsr", "service.cilium.io/src-ranges-policy": "deny",
            "service.cilium.io/global": "true", "service.glasshive.io/weights": "10.244.2.2=3,odd",
        },
    )  # fmt: skip
    found = tables(obj, slice_of("web", [HERE, THERE]))
    flags = "affinity+source_ranges+source_deny+dsr+routable+maglev"
    assert texts(found) == [f"LoadBalancer 192.0.2.7:80/TCP {flags} 1,2*3|1,2*3"]
    (frontend,) = found.frontends
    assert frontend.affinity_s == 10_800
    assert [str(one) for one in frontend.source_ranges] == ["192.0.2.0/24"]
    fields = [one.field for one in read_service(obj).findings]
    assert fields == [
        "metadata.annotations[service.cilium.io/forwarding-mode]",  # accepted, and not done yet
        "metadata.annotations[service.cilium.io/global]",
        "spec.loadBalancerSourceRanges",
        "metadata.annotations[service.glasshive.io/weights]",
    ]


def test_source_ranges_of_nothing_but_nonsense_let_nobody_in() -> None:
    found = tables(balancer("192.0.2.7", loadBalancerSourceRanges=["everybody"]), slice_of("web", [HERE]))
    assert "source_ranges" in texts(found)[-1]
    assert found.frontends[-1].source_ranges == ()


def test_headless_external_names_and_addresses_that_the_node_answers_have_no_frontends() -> None:
    assert not tables(service("web", clusterIP="None"), slice_of("web", [HERE])).frontends
    assert not tables(service("web", type="ExternalName", externalName="example.com")).frontends
    node = NodeView("node1", answered_here=frozenset({parse("10.96.0.9")}))
    assert not tables(service("web", clusterIP="10.96.0.9"), slice_of("web", [HERE]), node=node).frontends


def test_an_endpoint_in_two_slices_is_one_backend() -> None:
    old = slice_of("web", [endpoint("10.244.1.1", "node1", state="unready")], part="old")
    found = tables(service("web", clusterIP="10.96.0.9"), old, slice_of("web", [HERE], part="new"))
    assert texts(found) == ["ClusterIP 10.96.0.9:80/TCP - 1|1"]
    assert [backend.state.name for _, backend in found.backends] == ["ACTIVE"]


def test_host_ports() -> None:
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"ports": [
            {"hostPort": 8080, "containerPort": 80},
            {"hostPort": 53, "containerPort": 5353, "protocol": "UDP", "hostIP": "192.0.2.1"},
            {"containerPort": 1},
        ]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.244.1.9"}, {"ip": "fd00:10:244:1::9"}]},
    }  # fmt: skip
    assert texts(host_ports(read_host_ports(pod), "", "p", NODE1)) == [
        "HostPort 0.0.0.0:8080/TCP routable 9|9",
        "HostPort [::]:8080/TCP routable 9|9",
        "HostPort 192.0.2.1:53/UDP routable 9|9",
    ]
    pod["spec"]["hostNetwork"] = True
    assert read_host_ports(pod) == ()
