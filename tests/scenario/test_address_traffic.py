"""World traffic to addresses that LB IPAM gave and L2 announcements brought: it comes back after the holder's death."""

from __future__ import annotations

import json
import os
import time

import pytest

import glasshive
import residue
from glasshive.l2.lease import NAMESPACE, lease_name

pytestmark = pytest.mark.root

LEASE_SECONDS = [3, 2, 0.5]
POOL = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumLoadBalancerIPPool",
    "metadata": {"name": "l2"},
    "spec": {"blocks": [{"cidr": "172.30.200.0/28"}, {"cidr": "fd30::200:0/124"}]},
}
POLICY = {
    "apiVersion": "cilium.io/v2alpha1",
    "kind": "CiliumL2AnnouncementPolicy",
    "metadata": {"name": "all"},
    "spec": {"loadBalancerIPs": True},
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {
        "type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack", "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 8080}],
    },
}  # fmt: skip


def pod(name, node):
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "glasshive/echo"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}


@pytest.fixture(scope="module", params=["ebpf", "iptables"])
def cluster(request):
    name = residue.own(f"lbipam-tr-{os.getpid()}-{request.param}")
    with glasshive.Cluster(
        name, config={"nodes": 3, "dataplane": request.param, "l2_lease_seconds": LEASE_SECONDS}
    ) as one:
        one.apply([POOL, POLICY, SERVICE, *(pod(f"web{number}", f"node{number}") for number in (1, 2, 3))])
        one.wait("pod", condition="Ready", count=3, timeout=90)
        yield one


def until(look, seconds=90.0, what="waited in vain"):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


def addresses(cluster):
    obj = cluster.get("service", "web")
    return [one["ip"] for one in (obj["status"].get("loadBalancer") or {}).get("ingress") or []]


def holder(cluster):
    name = lease_name(("default", "web"))
    found = [one for one in cluster.get("leases", namespace=NAMESPACE) if one["metadata"]["name"] == name]
    return found[0]["spec"].get("holderIdentity", "") if found else ""


def answers(cluster, address):
    """The pod that answers the world, "" if nobody does."""
    host = f"[{address}]" if ":" in address else address
    done = cluster.node_exec("world", ["curl", "-s", "-m", "1", f"http://{host}/"])
    return json.loads(done.stdout)["pod"] if done.returncode == 0 else ""


def test_the_world_reaches_the_service_by_both_families(cluster):
    both = until(lambda: addresses(cluster))
    assert len(both) == 2
    for address in both:
        until(lambda: answers(cluster, address))  # noqa: B023 - used at once


def test_the_world_reaches_it_again_after_the_holders_death(cluster):
    who = until(lambda: holder(cluster))
    address = addresses(cluster)[0]
    began = time.monotonic()
    cluster.stop(who, kill=True)
    try:
        until(lambda: holder(cluster) not in {"", who})
        until(lambda: answers(cluster, address))
        print(json.dumps({"failoverSeconds": round(time.monotonic() - began, 2), "from": who, "to": holder(cluster)}))
    finally:
        cluster.start(who)
