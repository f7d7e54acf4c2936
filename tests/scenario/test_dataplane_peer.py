"""Nodes with the kernel's own dataplane and kube-proxy's rules, beside one with eBPF: traffic, changes, migration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from glasshive.api.resources import SERVICE
from glasshive.cluster.session import Cluster
from glasshive.errors import ClusterError, NotFoundError, UsageError
from policy_cluster import Talk, becomes, pod

NODES = {"node2": "iptables", "node3": "nftables"}
SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: udp, port: 90, targetPort: 9000, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: nobody}
  ports: [{port: 80}]
"""

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster("peer-plain", nodes=3, config={"dataplane": NODES}) as one:
        web = "".join(pod(f"web{n}", image="echo", node=f"node{n}", labels="app: web") for n in (1, 2, 3))
        clients = "".join(pod(f"client{n}", node=f"node{n}") for n in (2, 3))
        one.wait_applied(one.apply(web + clients + SERVICES), timeout=90)
        yield one


def addresses(cluster: Cluster, name: str) -> list[str]:
    return list(cluster.api.get(SERVICE, name, "default")["spec"]["clusterIPs"])


def host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def who(cluster: Cluster, source: str, url: str, tries: int = 12) -> set[str]:
    """Names of who answers, from a pod, a node (``node2``) or the world; "-" for a call without an answer.

    Backends are drawn by lot: of three, one is missed by twelve calls in one case of 43. Ask again (``becomes``).
    """
    command = f"for i in $(seq {tries}); do curl -s -m 2 {url}/hostname || echo -; done"
    inside = source.startswith("client")
    done = cluster.exec(source, ["sh", "-c", command]) if inside else cluster.node_exec(source, command)
    return set(done.stdout.split())


ALL = {"web1", "web2", "web3"}


@pytest.mark.parametrize("node", ["node2", "node3"])
def test_everybody_reaches_services_through_such_a_node(cluster: Cluster, node: str) -> None:
    client = f"client{node[-1]}"
    for address in addresses(cluster, "web"):
        url = f"http://{host(address)}"
        becomes(lambda: who(cluster, client, url), ALL, f"{client} -> {url}")  # noqa: B023 - called at once
        becomes(lambda: who(cluster, node, url), ALL, f"{node} -> {url}")  # noqa: B023
    becomes(lambda: who(cluster, client, "http://web"), ALL, "by name")
    port = cluster.api.get(SERVICE, "web", "default")["spec"]["ports"][0]["nodePort"]
    for one in cluster.backend.node_request(node, "GET", "/v1/status")["addresses"]:
        door = f"http://{host(one)}:{port}"
        becomes(lambda: who(cluster, "world", door), ALL, f"world -> {door}")  # noqa: B023
    for address in addresses(cluster, "empty"):
        asked = cluster.exec(client, ["curl", "-sv", "-m", "5", f"http://{host(address)}"])
        assert "refused" in asked.stderr.lower() or "unreachable" in asked.stderr.lower(), asked.stderr


def test_endpoints_that_go_are_not_asked_any_more(cluster: Cluster) -> None:
    address = addresses(cluster, "web")[0]
    cluster.delete("pod", "web1", "default")
    for client in ("client2", "client3"):
        becomes(lambda: who(cluster, client, f"http://{address}"), {"web2", "web3"}, client)  # noqa: B023
    cluster.wait_applied(cluster.apply(pod("web1", image="echo", node="node1", labels="app: web")), timeout=60)
    becomes(lambda: who(cluster, "client2", f"http://{address}"), ALL)


def test_a_node_migrates_while_its_pods_live(cluster: Cluster) -> None:
    """From rules to rules, to eBPF and back: a connection from pod to pod never ends, no rule and no pin stays."""
    address = addresses(cluster, "web")[0]
    target = next(row["ipv4"] for row in cluster.endpoints("node1") if row["pod"] == "web1")
    with Talk(cluster, "client2", "tcp", target, 8080) as talk:
        becomes(lambda: talk.count() > 2, True, "talks")
        for wanted in ("nftables", "ebpf", "iptables"):
            assert cluster.dataplane("node2", wanted) == wanted
            assert cluster.dataplane("node2") == wanted
            before = talk.count()
            becomes(lambda: talk.count() > before + 2, True, f"goes on under {wanted}")  # noqa: B023
            kept = cluster.node_exec("node2", "iptables-legacy-save; ip6tables-legacy-save").stdout
            assert ("KUBE-" in kept) == (wanted == "iptables")
            assert ("kube-proxy" in cluster.node_exec("node2", "nft list ruleset").stdout) == (wanted == "nftables")
            if wanted != "ebpf":
                becomes(lambda: who(cluster, "client2", f"http://{address}"), ALL, wanted)
            # what comes and goes under one dataplane is right under the next
            cluster.wait_applied(cluster.apply(pod(f"late-{wanted}", image="echo", node="node2")), timeout=60)
            late = next(row["ipv4"] for row in cluster.endpoints("node2") if row["pod"] == f"late-{wanted}")
            becomes(lambda: who(cluster, "client3", f"http://{late}:8080", 2), {f"late-{wanted}"})  # noqa: B023


def test_what_such_a_node_does_not_have_it_says(cluster: Cluster) -> None:
    with pytest.raises(NotFoundError, match="node3 has no maps: its dataplane is nftables"):
        cluster.maps("node3")
    assert {row["policyIngress"] for row in cluster.endpoints("node3")} == {"Disabled"}
    with pytest.raises(ClusterError, match="dataplane is 'ipvs'; allowed: ebpf, iptables, nftables"):
        cluster.dataplane("node3", "ipvs")
    assert cluster.dataplane("node3") == "nftables"


@pytest.mark.parametrize(
    ("wanted", "routing", "words"),
    [
        ("ipvs", "native", "dataplane: 'ipvs' is not allowed"),
        ({"node9": "iptables"}, "native", "'node9' is no node"),
        ("iptables", "tunnel", "need native routing"),
    ],
)
def test_impossible_wishes_are_refused(wanted: object, routing: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Cluster("peer-never", config={"nodes": 2, "routing": routing, "dataplane": wanted})
