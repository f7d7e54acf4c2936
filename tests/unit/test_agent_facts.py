"""From Kubernetes objects to facts."""

from __future__ import annotations

import pytest

from glasshive.agent.config import AgentConfig
from glasshive.agent.datapath import endpoint_entries, only_families
from glasshive.agent.facts import node_facts, node_to_json, pod_facts
from glasshive.errors import UsageError
from glasshive.model.address import Prefix, parse
from glasshive.model.endpoint import PodRef
from glasshive.model.node import NodeFacts

NODE = {
    "metadata": {"name": "node1"},
    "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"]},
    "status": {
        "addresses": [
            {"type": "Hostname", "address": "node1"},
            {"type": "InternalIP", "address": "172.30.0.11"},
            {"type": "InternalIP", "address": "fd30::b"},
        ]
    },
}
FACTS = NodeFacts(
    "node1",
    (parse("172.30.0.11"), parse("fd30::b")),
    (Prefix.parse("10.244.1.0/24"), Prefix.parse("fd00:10:244:1::/64")),
)


def test_a_node() -> None:
    assert node_facts(NODE) == FACTS
    assert node_facts(node_to_json(FACTS)) == FACTS, "what an agent writes down is what it reads"


def test_a_node_that_lacks_much(caplog: pytest.LogCaptureFixture) -> None:
    assert node_facts({"metadata": {"name": "n"}}) == NodeFacts("n")
    assert node_facts({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24"}}).pod_prefixes
    broken = {"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "x"}]}}
    assert node_facts(broken) == NodeFacts("n")
    assert "'x' is not an IP address" in caplog.text


@pytest.mark.parametrize(
    ("prefixes", "entries"),
    [
        (["10.244.1.0/24", "fd00:10:244:1::/64"], 4096),
        (["10.244.0.0/20", "fd00:10:244:1::/64"], 8224),
        (["fd00:10:244:1::/64"], 32768),
    ],
)
def test_the_map_of_endpoints_has_room_for_a_full_pool(prefixes: list[str], entries: int) -> None:
    assert endpoint_entries(NodeFacts("n", (), tuple(map(Prefix.parse, prefixes)))) == entries


def test_a_node_in_a_cluster_of_one_family() -> None:
    assert only_families(FACTS, ["ipv6"]) == NodeFacts("node1", FACTS.addresses[1:], FACTS.pod_prefixes[1:])
    assert only_families(FACTS, ["ipv4", "ipv6"]) == FACTS


def pod(**status: object) -> dict:
    return {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web", "controller-uid": "x"}},
        "spec": {"nodeName": "node1", "serviceAccountName": "seller"},
        "status": status,
    }


def test_a_pod() -> None:
    facts = pod_facts(pod(podIPs=[{"ip": "10.244.1.5"}, {"ip": "fd00::5"}], phase="Running"), {"env": "x"}, "hive")
    assert facts.ref == PodRef("shop", "web", "u1")
    assert facts.addresses == (parse("10.244.1.5"), parse("fd00::5"))
    assert (facts.node, facts.host_network, facts.finished) == ("node1", False, False)
    assert facts.labels.texts() == [
        "k8s:app=web",
        "k8s:io.cilium.k8s.namespace.labels.env=x",
        "k8s:io.cilium.k8s.policy.cluster=hive",
        "k8s:io.cilium.k8s.policy.serviceaccount=seller",
        "k8s:io.kubernetes.pod.namespace=shop",
    ]


def test_a_pod_of_few_words() -> None:
    assert pod_facts(pod(podIP="10.244.1.5"), {}, "hive").addresses == (parse("10.244.1.5"),)
    assert pod_facts(pod(), {}, "hive").addresses == ()
    assert pod_facts(pod(podIP="garbage"), {}, "hive").addresses == ()
    assert pod_facts(pod(phase="Failed"), {}, "hive").finished
    assert pod_facts({"metadata": {"name": "p"}}, {}, "hive").ref == PodRef("default", "p")


def test_the_configuration_says_what_is_allowed(tmp_path) -> None:
    config = AgentConfig("hive", "node1", tmp_path)
    assert config.pins.as_posix() == "/sys/fs/bpf/glasshive/hive/node1"
    assert config.node_socket == tmp_path / "nodes" / "node1" / "node.sock"
    assert config.dual_stack
    with pytest.raises(UsageError, match="native or tunnel"):
        AgentConfig("hive", "node1", tmp_path, routing="bridge")  # type: ignore[arg-type]
    for families in ((), ("ipv5",)):
        with pytest.raises(UsageError, match="ipv4, ipv6 or both"):
            AgentConfig("hive", "node1", tmp_path, ip_families=families)
