"""Names, asked from inside pods with the tools people use: dig, getent (glibc's resolver) and curl."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import time
from pathlib import Path

import pytest

import glasshive
import residue
from glasshive.errors import ApiError

pytestmark = pytest.mark.root

MANY = 300
LOCAL = "cluster.local"
HTTP = {"name": "http", "port": 8080}


def pod(name, image, node, namespace="default", **spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{"name": "main", "image": image}],
            **spec,
        },
    }


def service(name, namespace="default", **spec):
    meta = {"name": name, "namespace": namespace}
    if spec.get("type") != "ExternalName":
        spec = {"ports": [HTTP], "ipFamilyPolicy": "PreferDualStack", **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def many_endpoints():
    """Endpoints that nobody stands behind, more than fit a datagram; a hundred to a slice."""
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"many-{part}", "labels": {"kubernetes.io/service-name": "many"}},
            "addressType": "IPv4",
            "ports": [HTTP],
            "endpoints": [{"addresses": [f"10.244.{100 + part}.{n + 1}"]} for n in range(100)],
        }
        for part in range(MANY // 100)
    ]


@pytest.fixture(scope="module")
def cluster():
    name = residue.own(f"i-dns{os.getpid()}")
    with glasshive.Cluster(name, nodes=2) as one:
        one.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}])
        one.apply(
            [
                service("echo", selector={"app": "db-0"}),
                service("db", selector={"app": "db-0"}, clusterIP="None"),
                service("outside", type="ExternalName", externalName="example.com"),
                service("far", "other", selector={"app": "none"}),
                service("nobody", selector={"app": "none"}, clusterIP="None"),
                service("many", clusterIP="None", ipFamilyPolicy="SingleStack"),
                *many_endpoints(),
                pod("db-0", "glasshive/echo", "node2", hostname="db-0", subdomain="db"),
                pod("client", "glasshive/client", "node1"),
            ]
        )
        one.wait("pod", condition="Ready", count=2, timeout=90)
        until(lambda: run(one, "dig", "+short", f"db.default.svc.{LOCAL}").stdout)
        yield one


def until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def run(cluster, *argv):
    return cluster.exec("client", list(argv))


def short(cluster, *argv):
    done = run(cluster, "dig", "+short", "+tries=1", "+time=2", *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(done.stdout.splitlines())


def status(cluster, *argv):
    """(code, milliseconds) as dig sees them."""
    text = run(cluster, "dig", "+tries=1", "+time=2", *argv).stdout
    return re.search(r"status: (\w+)", text)[1], int(re.search(r"Query time: (\d+) msec", text)[1])


def addresses_of(cluster, name):
    """Of a pod: IPv4, IPv6."""
    found = next(p for p in cluster.pods() if p.name == name).addresses
    return tuple(sorted(found, key=lambda text: ":" in text))


def cluster_ips(cluster, name, namespace="default"):
    return tuple(cluster.get("service", name, namespace)["spec"]["clusterIPs"])


def test_service_names(cluster):
    v4, v6 = cluster_ips(cluster, "echo")
    assert short(cluster, f"echo.default.svc.{LOCAL}", "A") == [v4]
    assert short(cluster, f"echo.default.svc.{LOCAL}", "AAAA") == [v6]
    assert short(cluster, f"_http._tcp.echo.default.svc.{LOCAL}", "SRV") == [f"0 100 8080 echo.default.svc.{LOCAL}."]
    for address in (v4, v6):
        assert short(cluster, "-x", address) == [f"echo.default.svc.{LOCAL}."]
    assert short(cluster, f"kubernetes.default.svc.{LOCAL}") == ["10.96.0.1"]
    assert short(cluster, f"ECHO.Default.svc.{LOCAL}") == [v4]
    assert short(cluster, f"dns-version.{LOCAL}", "TXT") == ['"1.1.0"']


@pytest.mark.parametrize("server", ["10.96.0.10", "fd00:10:96::a"])
@pytest.mark.parametrize("way", ["+notcp", "+tcp"])
def test_both_addresses_over_udp_and_tcp(cluster, server, way):
    assert short(cluster, f"@{server}", way, f"kubernetes.default.svc.{LOCAL}") == ["10.96.0.1"]


def test_headless_names(cluster):
    v4, v6 = addresses_of(cluster, "db-0")
    assert short(cluster, f"db.default.svc.{LOCAL}") == [v4]
    assert short(cluster, f"db.default.svc.{LOCAL}", "AAAA") == [v6]
    assert short(cluster, f"db-0.db.default.svc.{LOCAL}") == [v4]
    assert short(cluster, f"_http._tcp.db.default.svc.{LOCAL}", "SRV") == [f"0 100 8080 db-0.db.default.svc.{LOCAL}."]
    for address in (v4, v6):
        assert short(cluster, "-x", address) == [f"db-0.db.default.svc.{LOCAL}."]
    assert status(cluster, f"nobody.default.svc.{LOCAL}")[0] == "NXDOMAIN"


def test_pod_names(cluster):
    v4, v6 = addresses_of(cluster, "db-0")
    assert short(cluster, f"{v4.replace('.', '-')}.default.pod.{LOCAL}") == [v4]
    assert short(cluster, f"{v6.replace(':', '-')}.default.pod.{LOCAL}", "AAAA") == [v6]
    assert status(cluster, f"10-244-77-77.default.pod.{LOCAL}")[0] == "NXDOMAIN"
    assert status(cluster, f"{v4.replace('.', '-')}.other.pod.{LOCAL}")[0] == "NXDOMAIN"


@pytest.mark.parametrize("name", ["echo", "echo.default", "echo.default.svc", f"echo.default.svc.{LOCAL}."])
def test_search_path(cluster, name):
    v4, v6 = cluster_ips(cluster, "echo")
    assert set(run(cluster, "getent", "ahostsv4", name).stdout.split()) >= {v4}
    assert set(run(cluster, "getent", "ahostsv6", name).stdout.split()) >= {v6}


def test_search_path_of_another_namespace_and_the_world(cluster):
    assert run(cluster, "getent", "ahostsv4", "far.other").stdout.split()[0] == cluster_ips(cluster, "far", "other")[0]
    assert run(cluster, "getent", "ahostsv4", "far").returncode == 2
    assert run(cluster, "getent", "ahostsv4", "example.com").stdout.split()[0] == "203.0.113.10"
    assert run(cluster, "getent", "ahostsv6", "world.test").stdout.split()[0] == "2001:db8:ffff::10"
    assert run(cluster, "getent", "ahostsv4", "outside").stdout.split()[0] == "203.0.113.10"
    assert short(cluster, "www.example.com") == ["203.0.113.10", "example.com."]


@pytest.mark.parametrize("family", ["-4", "-6"])
@pytest.mark.parametrize("url", ["http://db:8080/", "http://db-0.db.default:8080/", "http://example.com/"])
def test_curl(cluster, family, url):
    done = run(cluster, "curl", "-sS", family, "--max-time", "5", url)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("name", [f"nothing.default.svc.{LOCAL}", f"example.com.{LOCAL}", "no.such.test"])
def test_what_is_not_there_is_denied_at_once(cluster, name):
    answers = [status(cluster, name) for _ in range(5)]
    assert {code for code, _ in answers} == {"NXDOMAIN"}
    assert statistics.median(took for _, took in answers) < 50


def test_name_without_that_type(cluster):
    assert status(cluster, f"many.default.svc.{LOCAL}", "AAAA")[0] == "NOERROR"
    assert short(cluster, f"many.default.svc.{LOCAL}", "AAAA") == []


def test_large_answer_over_tcp(cluster):
    text = run(cluster, "dig", f"many.default.svc.{LOCAL}").stdout
    assert "Truncated, retrying in TCP mode" in text
    assert f"ANSWER: {MANY}" in text
    found = run(cluster, "getent", "ahostsv4", "many").stdout.split("\n")
    assert len({line.split()[0] for line in found if line}) == MANY


def test_address_of_the_service_is_taken(cluster):
    assert cluster_ips(cluster, "kube-dns", "kube-system") == ("10.96.0.10", "fd00:10:96::a")
    with pytest.raises(ApiError, match="already allocated"):
        cluster.apply([service("thief", clusterIP="10.96.0.10")])


def kill(cluster, name):
    before = next(p for p in cluster.backend.status().processes if p.name == name)
    os.kill(before.pid, signal.SIGKILL)

    def back():
        after = next(p for p in cluster.backend.status().processes if p.name == name)
        return after.ready and after.pid != before.pid

    return back


def test_names_stay_while_the_control_plane_is_away(cluster):
    v4 = cluster_ips(cluster, "echo")[0]
    # Not by "exec": that asks the API where the pod is.
    pods = [str(path.name) for path in Path("/run/netns").glob(f"gh-{cluster.name}-pod-*")]
    back = kill(cluster, "control-plane")
    questions = 0
    while not (questions >= 20 and back()):
        for space in pods:
            for name, address in ((f"echo.default.svc.{LOCAL}", v4), ("example.com", "203.0.113.10")):
                command = ["ip", "netns", "exec", space, "dig", "@10.96.0.10", "+short", "+tries=1", "+time=1", name]
                assert subprocess.check_output(command, text=True).split() == [address]
                questions += 1
    until(back)
    cluster.apply([service("late")])
    late = cluster_ips(cluster, "late")[0]
    until(lambda: short(cluster, f"late.default.svc.{LOCAL}") == [late])


def test_killed_resolver_comes_back(cluster):
    v4 = cluster_ips(cluster, "echo")[0]
    until(kill(cluster, "node1-dns"))
    assert short(cluster, f"echo.default.svc.{LOCAL}") == [v4]


def test_change_is_seen_within_a_second(cluster):
    cluster.apply([service("brief")])
    address = cluster_ips(cluster, "brief")[0]
    until(lambda: short(cluster, f"brief.default.svc.{LOCAL}") == [address], 1)
    cluster.delete([service("brief")])
    until(lambda: status(cluster, f"brief.default.svc.{LOCAL}")[0] == "NXDOMAIN", 1)


@pytest.mark.parametrize(
    ("family", "type_", "own", "outside"),
    [("ipv4", "A", "10.96.0.1", "203.0.113.77"), ("ipv6", "AAAA", "fd00:10:96::1", "2001:db8:ffff::77")],
)
def test_one_family_under_a_tunnel_with_names_of_the_own(family, type_, own, outside):
    name = residue.own(f"i-dns{os.getpid()}-{family}")
    config = {"nodes": 1, "ip_families": (family,), "routing": "tunnel", "world_names": {"lab.test": (outside,)}}
    with glasshive.Cluster(name, config=config) as one:
        one.apply([pod("client", "glasshive/client", "node1")])
        one.wait("pod", condition="Ready", count=1, timeout=90)
        assert short(one, f"kubernetes.default.svc.{LOCAL}", type_) == [own]
        assert run(one, "getent", "ahosts", "kubernetes").stdout.split()[0] == own
        assert short(one, "lab.test", type_) == [outside]
        assert status(one, "example.com")[0] == "NXDOMAIN"
        assert len(cluster_ips(one, "kube-dns", "kube-system")) == 1
