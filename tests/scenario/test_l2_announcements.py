"""L2 announcements: the world asks who has a service's address, one node answers, another when that one is dead."""

from __future__ import annotations

import json
import os
import re
import time

import pytest

import glasshive
import residue
from glasshive.api.l2_announcement_policy import KIND
from glasshive.l2.lease import NAMESPACE, lease_name

pytestmark = pytest.mark.root

LEASE_SECONDS = [4, 2, 0.5]
POOL = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumLoadBalancerIPPool",
    "metadata": {"name": "l2"},
    "spec": {"blocks": [{"cidr": "172.30.200.0/28"}, {"cidr": "fd30::200:0/124"}]},
}
POLICY = {
    "apiVersion": "cilium.io/v2alpha1",
    "kind": KIND,
    "metadata": {"name": "all"},
    "spec": {
        "loadBalancerIPs": True,
        "externalIPs": True,
        "interfaces": ["^eth[0-9]+"],
        "nodeSelector": {"matchExpressions": [{"key": "l2", "operator": "NotIn", "values": ["no"]}]},
    },
}


def service(name, **spec):
    whole = {"type": "LoadBalancer", "selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": whole}


def pod(name, node):
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "glasshive/echo"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "local"}}, "spec": spec}


@pytest.fixture(scope="module")
def cluster():
    name = residue.own(f"lbipam-l2-{os.getpid()}")
    with glasshive.Cluster(name, config={"nodes": 3, "l2_lease_seconds": LEASE_SECONDS}) as one:
        one.apply([POOL, POLICY, service("web", ipFamilyPolicy="RequireDualStack")])
        yield one


def until(look, seconds=90.0, what="waited in vain"):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def addresses(cluster, name="web"):
    obj = cluster.get("service", name)
    return [one["ip"] for one in (obj["status"].get("loadBalancer") or {}).get("ingress") or []]


def holder(cluster, name="web"):
    name = lease_name(("default", name))
    found = [one for one in cluster.get("leases", namespace=NAMESPACE) if one["metadata"]["name"] == name]
    return found[0]["spec"].get("holderIdentity", "") if found else ""


def in_world(cluster, *command):
    return cluster.node_exec("world", list(command))


def macs(cluster):
    """Link address of each node's device -> the node."""
    found = {}
    for node in ("node1", "node2", "node3"):
        shown = json.loads(cluster.node_exec(node, ["ip", "-j", "link", "show", "eth0"]).stdout)
        found[shown[0]["address"]] = node
    return found


def answers(cluster, address):
    """Who answers when the world asks now, whatever it knew before."""
    in_world(cluster, "ip", "neigh", "flush", "to", address)
    in_world(cluster, "ping", "-c", "1", "-W", "1", address)
    return believed(cluster, address)


def believed(cluster, address):
    """Who has the address by what the world knows already."""
    shown = in_world(cluster, "ip", "neigh", "show", "to", address).stdout
    found = re.search(r"lladdr (\S+)", shown)
    return macs(cluster).get(found[1], "") if found else ""


def announced(cluster, name="web"):
    """The node that holds the lease, once the world gets all answers from it and from nobody else."""

    def one():
        who = holder(cluster, name)
        return who if who and all(answers(cluster, address) == who for address in addresses(cluster, name)) else ""

    return until(one, what="no node answers for the service")


def test_one_node_answers_for_both_families(cluster):
    who = announced(cluster)
    rows = {node: cluster.maps(node, "l2_responders") for node in macs(cluster).values()}
    assert {node for node, found in rows.items() if found} == {who}
    counted = {row["addr"]: row["responses_sent"] for row in rows[who]}
    assert set(counted) == set(addresses(cluster))
    assert all(counted.values())
    rows = cluster.announcements()
    assert {(row["service"], row["node"], row["device"]) for row in rows} == {("default/web", who, "eth0")}
    assert {row["address"] for row in rows if row["responsesSent"]} == set(addresses(cluster))
    lease = next(one for one in cluster.get("leases", namespace=NAMESPACE) if "default-web" in one["metadata"]["name"])
    assert lease["spec"]["leaseDurationSeconds"] == LEASE_SECONDS[0]


def test_kubectl_shows_pools_and_policies(cluster):
    shown = cluster.kubectl("get", "ippools").stdout
    assert re.search(r"NAME +DISABLED +CONFLICTING +IPS AVAILABLE +AGE\nl2 +false +False +\d+ ", shown), shown
    assert "all" in cluster.kubectl("get", "l2announcement").stdout
    assert addresses(cluster)[0] in cluster.kubectl("get", "service", "web").stdout


def test_a_node_that_may_not_announce_leaves_to_another(cluster):
    who = announced(cluster)
    cluster.kubectl("label", "node", who, "l2=no")
    try:
        until(lambda: announced(cluster) != who)
        assert not cluster.maps(who, "l2_responders")
    finally:
        cluster.kubectl("label", "node", who, "l2-")


def test_a_restarted_agent_goes_on_answering(cluster):
    who = announced(cluster)
    before = next(p.pid for p in cluster.backend.status().processes if p.name == who)
    os.kill(before, 9)
    until(lambda: any(p.name == who and p.ready and p.pid != before for p in cluster.backend.status().processes))
    assert announced(cluster) == who


def test_addresses_outlive_the_control_plane(cluster):
    """The operator starts anew: everybody has what he had, and what is new gets something else."""
    before = addresses(cluster)
    dead = next(p.pid for p in cluster.backend.status().processes if p.name == "control-plane")
    os.kill(dead, 9)
    until(
        lambda: any(p.name == "control-plane" and p.ready and p.pid != dead for p in cluster.backend.status().processes)
    )
    cluster.apply([service("young")])
    young = until(lambda: addresses(cluster, "young"))
    assert addresses(cluster) == before
    assert not set(young) & set(before)
    assert announced(cluster)
    cluster.delete("service", "young")


def test_another_node_answers_when_the_holder_is_dead(cluster):
    """The dead node's programs are still in its kernel: they must fall silent by themselves."""
    who = announced(cluster)
    began = time.monotonic()
    cluster.stop(who, kill=True)
    try:
        after = until(lambda: holder(cluster) if holder(cluster) not in {"", who} else "")
        for address in addresses(cluster):  # nobody asks: the new holder has told the world
            until(lambda: believed(cluster, address) == after)  # noqa: B023 - used at once
        assert announced(cluster) == after
        print(json.dumps({"failoverSeconds": round(time.monotonic() - began, 2), "from": who, "to": after}))
        assert after != who
        for _ in range(10):  # never the dead one beside it
            assert answers(cluster, addresses(cluster)[0]) == after
    finally:
        cluster.start(who)
    assert announced(cluster) != who


def test_local_services_are_announced_where_a_backend_is(cluster):
    cluster.apply([service("local", externalTrafficPolicy="Local")])
    until(lambda: addresses(cluster, "local"))
    cluster.apply([pod("first", "node3")])
    cluster.wait("pod", "first", condition="Ready", timeout=90)
    assert announced(cluster, "local") == "node3"
    cluster.apply([pod("second", "node2")])
    cluster.wait("pod", "second", condition="Ready", timeout=90)
    cluster.delete("pod", "first")
    until(lambda: announced(cluster, "local") == "node2")
    cluster.delete("service", "local")
    until(lambda: lease_name(("default", "local")) not in {
        one["metadata"]["name"] for one in cluster.get("leases", namespace=NAMESPACE)
    })  # fmt: skip


def test_glasshive_shows_why_a_service_has_no_address(cluster):
    cluster.apply([service("far", loadBalancerIP="198.51.100.7"), service("near", externalIPs=["10.244.3.3"])])
    try:
        until(lambda: "no_pool: 198.51.100.7 is in no pool" in repr(cluster.service("far")))
        until(lambda: "address_in_cluster: spec.externalIPs: 10.244.3.3" in repr(cluster.service("near")))
        shown = cluster.kubectl("describe", "service", "far").stdout
        assert re.search(r"Warning +LoadBalancerPending .* 198.51.100.7 is in no pool", shown), shown
    finally:
        cluster.delete("service", "far")
        cluster.delete("service", "near")
