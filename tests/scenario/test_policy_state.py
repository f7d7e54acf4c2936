"""Policy over time: connections that are cut, audit, modes at run time, statuses, objects that stop making sense."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from glasshive.cluster.session import Cluster
from policy_cluster import Talk, addresses, apply, becomes, enforcement, http, pod, url

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

PODS = pod("server", image="echo", node="node2") + pod("client", node="node1") + pod("other", node="node1")
ONLY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: only}
spec:
  endpointSelector: {matchLabels: {app: server}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: APP}}]
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster("pagent-state", nodes=2) as one:
        one.wait_applied(one.apply(PODS), timeout=90)
        yield one


@pytest.fixture(autouse=True)
def clean(cluster: Cluster) -> Iterator[None]:
    yield
    node_request(cluster, "PATCH", "/v1/endpoints/default/server", {"PolicyAuditMode": "Disabled"})
    cluster.kubectl("delete", "cnp", "--all")
    cluster.kubectl("delete", "configmap", "cilium-config", "-n", "kube-system", "--ignore-not-found")
    becomes(lambda: enforcement(cluster, "server"), ("Disabled", "Disabled"))


def node_request(cluster: Cluster, method: str, path: str, body: object = None, node: str = "node2") -> dict:
    return cluster.backend.node_request(node, method, path, body)


def condition(cluster: Cluster, name: str, kind: str = "Valid") -> dict:
    found = next(one for one in cluster.get("CiliumNetworkPolicy") if one["metadata"]["name"] == name)
    known = (found.get("status") or {}).get("conditions") or []
    return next((one for one in known if one["type"] == kind), {})


def test_audit_lets_pass_and_tells(cluster: Cluster) -> None:
    target = url(addresses(cluster, "server")[0])
    apply(cluster, ONLY.replace("APP", "client"), "server", ("Enabled", "Disabled"))
    assert http(cluster, "other", target) == "000"
    place = next(f"node2/{row['id']}" for row in cluster.endpoints("node2") if row["pod"] == "server")
    argv = ["endpoint", "config", place, "PolicyAuditMode=Enabled"]
    assert "configuration updated successfully" in glasshive(cluster, *argv)
    assert enforcement(cluster, "server") == ("Disabled (Audit)", "Disabled")
    assert http(cluster, "other", target) == "200"
    records = node_request(cluster, "GET", "/v1/verdict-records")["records"]
    assert any(one["audited"] and one["verdict"] == "deny-default" for one in records)
    glasshive(cluster, *argv[:-1], "PolicyAuditMode=Disabled")
    assert enforcement(cluster, "server") == ("Enabled", "Disabled")
    assert http(cluster, "other", target) == "000"


def test_the_mode_changes_while_the_cluster_runs(cluster: Cluster) -> None:
    target = url(addresses(cluster, "server")[0])
    glasshive(cluster, "config", "set", "enable-policy", "always")
    becomes(lambda: enforcement(cluster, "server"), ("Enabled", "Enabled"))
    becomes(lambda: http(cluster, "client", target), "000", "always: nothing allows it")
    apply(cluster, ONLY.replace("APP", "client"), "server", ("Enabled", "Enabled"))
    glasshive(cluster, "config", "set", "enable-policy", "never")
    becomes(lambda: enforcement(cluster, "server"), ("Disabled", "Disabled"))
    becomes(lambda: http(cluster, "other", target), "200", "never: nobody is judged")
    glasshive(cluster, "config", "set", "enable-policy", "default")
    becomes(lambda: enforcement(cluster, "server"), ("Enabled", "Disabled"))
    becomes(lambda: http(cluster, "other", target), "000")
    assert http(cluster, "client", target) == "200"


def test_one_node_may_differ_and_wrong_settings_are_refused(cluster: Cluster) -> None:
    glasshive(cluster, "node", "config", "node2", "PolicyEnforcement=always")
    becomes(lambda: enforcement(cluster, "server"), ("Enabled", "Enabled"))
    assert enforcement(cluster, "client") == ("Disabled", "Disabled")
    glasshive(cluster, "node", "config", "node2", "PolicyEnforcement=default")
    becomes(lambda: enforcement(cluster, "server"), ("Disabled", "Disabled"))
    for argv in (["node", "config", "node2", "PolicyEnforcement=sometimes"], ["config", "set", "enable-policy", "x"]):
        with pytest.raises(subprocess.CalledProcessError):
            glasshive(cluster, *argv)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", [0, 1])
def test_established_connections_are_cut_and_may_go_on(cluster: Cluster, protocol: str, family: int) -> None:
    apply(cluster, ONLY.replace("APP", "client"), "server", ("Enabled", "Disabled"))
    port = 8080 if protocol == "tcp" else 9000
    with Talk(cluster, "client", protocol, addresses(cluster, "server")[family], port) as talk:
        becomes(lambda: talk.count() > 3, True, "the connection works")
        cluster.apply(ONLY.replace("APP", "other"))
        becomes(talk.rests, True, "the connection is cut")
        at = talk.count()
        cluster.apply(ONLY.replace("APP", "client"))
        becomes(lambda: talk.count() > at, True, "what was only stopped goes on when it is allowed again", 30.0)


def test_what_does_not_make_sense_is_said_and_the_last_valid_form_stays(cluster: Cluster) -> None:
    target = url(addresses(cluster, "server")[0])
    apply(cluster, ONLY.replace("APP", "client"), "server", ("Enabled", "Disabled"))
    becomes(lambda: condition(cluster, "only").get("status"), "True")
    generation = condition(cluster, "only")["observedGeneration"]
    broken = ONLY.replace("APP", "other") + "    fromCIDR: [10.0.0.0/8]\n"
    cluster.apply(broken)
    becomes(lambda: condition(cluster, "only").get("status"), "False")
    found = condition(cluster, "only")
    assert f"generation {generation} stays enforced" in found["message"]
    assert http(cluster, "client", target) == "200"
    assert http(cluster, "other", target) == "000"
    cluster.backend.process("node2").stop(kill=True)
    cluster.backend.process("node2").start()
    becomes(lambda: node_request(cluster, "GET", "/v1/status")["features"]["policy"]["ready"], True, seconds=30)
    assert http(cluster, "other", target) == "000", "also for the next agent"
    assert http(cluster, "client", target) == "200"
    cluster.apply(ONLY.replace("APP", "other"))
    becomes(lambda: condition(cluster, "only").get("status"), "True")
    becomes(lambda: http(cluster, "other", target), "200")


def test_rules_that_need_what_is_not_there_say_so(cluster: Cluster) -> None:
    cluster.apply("""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: names}
spec:
  endpointSelector: {matchLabels: {app: other}}
  egress:
  - toFQDNs: [{matchName: example.com}]
""")
    becomes(lambda: condition(cluster, "names", "Enforceable").get("reason"), "PartsNotSupported")
    assert condition(cluster, "names")["status"] == "True"
    becomes(lambda: enforcement(cluster, "other"), ("Disabled", "Enabled"), "what it would allow stays refused")


def glasshive(cluster: Cluster, *argv: str) -> str:
    import sys

    command = [sys.executable, "-m", "glasshive", "--cluster", cluster.name, *argv]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=180).stdout
