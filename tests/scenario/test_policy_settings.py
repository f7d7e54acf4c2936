"""What a cluster may be told: who counts as localhost, whether CIDRs mean nodes, how long identities live unused; and
endpoints of pods that nobody knows yet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from agent_cluster import agent_cluster
from control_plane import eventually
from glasshive.api.resources import POD
from glasshive.cluster.session import Cluster
from policy_cluster import addresses, apply, becomes, enforcement, http, ping, pod, url

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    told = {"nodes": 2, "allow_localhost": "policy", "policy_cidr_match_mode": "nodes", "identity_gc_seconds": 2}
    pods = pod("server", image="echo", node="node2", ports="{name: web, containerPort: 8080}") + pod(
        "client", node="node1"
    )
    with Cluster("pagent-told", config=told) as one:
        one.wait_applied(one.apply(pods), timeout=90)
        yield one


def test_the_node_itself_needs_a_rule_if_so_told(cluster: Cluster) -> None:
    rule = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: in}
spec:
  endpointSelector: {matchLabels: {app: server}}
  ingress:
  - fromEntities: [ENTITY]
"""
    address = addresses(cluster, "server")[0]

    def from_node() -> bool:
        return cluster.node_exec("node2", ["ping", "-c", "1", "-W", "1", address]).returncode == 0

    assert from_node()
    apply(cluster, rule.replace("ENTITY", "world"), "server", ("Enabled", "Disabled"))
    becomes(from_node, False, "allow-localhost is policy")
    cluster.apply(rule.replace("ENTITY", "host"))
    becomes(from_node, True)
    cluster.kubectl("delete", "cnp", "in")
    becomes(lambda: enforcement(cluster, "server"), ("Disabled", "Disabled"))


def test_cidrs_may_mean_nodes(cluster: Cluster) -> None:
    there = next(one for one in cluster.topology().nodes if one.name == "node2").addresses[0]
    rule = f"""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: nodes}}
spec:
  endpointSelector: {{matchLabels: {{app: client}}}}
  egress:
  - toCIDR: [{there}/32]
"""
    rows = {row["addr"]: row["identity"] for row in cluster.maps("node1", "ipcache") if row["prefixlen"] == 128}
    assert rows[there] >> 24 == 2
    apply(cluster, rule, "client", ("Disabled", "Enabled"))
    becomes(lambda: ping(cluster, "client", there), True)
    assert not ping(cluster, "client", addresses(cluster, "server")[0])
    cluster.apply(rule.replace(f"{there}/32", "192.0.2.0/24"))
    becomes(lambda: ping(cluster, "client", there), False)
    cluster.kubectl("delete", "cnp", "nodes")
    becomes(lambda: enforcement(cluster, "client"), ("Disabled", "Disabled"))


def test_a_port_by_name_is_the_receiver_s_number(cluster: Cluster) -> None:
    cluster.apply("""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: named}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress:
  - to: [{podSelector: {matchLabels: {app: server}}}]
    ports: [{port: web}]
""")
    becomes(lambda: enforcement(cluster, "client"), ("Disabled", "Enabled"))
    address = addresses(cluster, "server")[0]
    becomes(lambda: http(cluster, "client", url(address)), "200")
    assert http(cluster, "client", url(address, 9000)) == "000"
    cluster.kubectl("delete", "networkpolicy", "named")
    becomes(lambda: enforcement(cluster, "client"), ("Disabled", "Disabled"))


def test_unused_identities_go_and_used_ones_stay(cluster: Cluster) -> None:
    cluster.wait_applied(cluster.apply(pod("brief", node="node1")), timeout=60)

    def known(app: str) -> list[str]:
        return [one["metadata"]["name"] for one in cluster.get("CiliumIdentity")
                if one["security-labels"].get("k8s:app") == app]  # fmt: skip

    assert len(known("brief")) == 1
    cluster.kubectl("delete", "pod", "brief")
    becomes(lambda: known("brief"), [], "nobody uses it", 30.0)
    assert len(known("server")) == len(known("client")) == 1
    dns = [one for one in cluster.get("CiliumIdentity") if one["security-labels"].get("k8s:k8s-app") == "kube-dns"]
    assert len(dns) == 1, "the name service's identity is used by every node"
    cluster.wait_applied(cluster.apply(pod("brief", node="node2")), timeout=60)
    becomes(lambda: len(known("brief")), 1)


def test_pods_that_nobody_knows_are_under_default_deny() -> None:
    async def scenario() -> None:
        async with agent_cluster("pagent-init", nodes=1, ip_families=("ipv4",)) as nodes:
            known = await nodes.add_pod("known", "node1")
            target = known["ips"][0]["address"].split("/")[0]
            assert "code" not in await nodes.attach("stranger", "node1")
            rows = {row["pod"]: row for row in await nodes.ask("node1", "/v1/endpoints")}
            assert rows["stranger"]["identity"] == 5
            assert (rows["stranger"]["policyIngress"], rows["stranger"]["policyEgress"]) == ("Enabled", "Enabled")
            assert rows["stranger"]["state"] == "waiting-for-identity"
            assert not await nodes.ping("stranger", target, 1)
            spec = {"nodeName": "node1", "containers": [{"name": "main", "image": "none"}]}
            await nodes.client.create(POD, POD.object("stranger", "default", spec=spec))
            await eventually(lambda: nodes.ping("stranger", target, 1), 10, "once it is known, it may")

    asyncio.run(scenario())
