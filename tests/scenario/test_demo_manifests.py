"""Three demos in the form that the public ones have, with the images they name, applied unchanged with kubectl.

Pods are asked at their own addresses: that a Service's address leads to them is the business of the load balancer,
which comes with issue 6. The Services themselves, their slices and their node ports are there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl import Kubectl, cluster

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

MANIFESTS = Path(__file__).parents[2] / "labs" / "manifests"
DEMOS = ("star_wars", "echo_service", "client")


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with cluster(f"k-demo-{os.getpid()}", *(str(MANIFESTS / f"{name}.yaml") for name in DEMOS)) as made:
        for name in ("deathstar", "echo-server"):
            made("rollout", "status", f"deployment/{name}", "--timeout=20s")
        yield made


def addresses(kubectl: Kubectl, selector: str) -> list[str]:
    """All addresses of the selected pods, as they stand in URLs."""
    pods = json.loads(kubectl.text("get", "pods", "-l", selector, "-o", "json"))["items"]
    found = [ip["ip"] for pod in pods for ip in pod["status"]["podIPs"]]
    assert len(found) == 2 * len(pods), "both families"
    return [f"[{ip}]" if ":" in ip else ip for ip in found]


@pytest.mark.parametrize("ship", ["tiefighter", "xwing"])
def test_ships_talk_to_the_station(kubectl: Kubectl, ship: str) -> None:
    stations = addresses(kubectl, "org=empire,class=deathstar")
    assert len(stations) == 4
    ask = ("exec", ship, "--", "curl", "-s", "-m", "5")
    for station in stations:
        assert kubectl.text(*ask, "-XPOST", f"http://{station}/v1/request-landing") == "Ship landed\n"
        status = ("-o", "/dev/null", "-w", "%{http_code}")
        assert kubectl.text(*ask, *status, "-XPUT", f"http://{station}/v1/exhaust-port") == "503"
        assert "exploded" in kubectl.text(*ask, "-XPUT", f"http://{station}/v1/exhaust-port")


def test_the_client_is_echoed(kubectl: Kubectl) -> None:
    (own, _) = addresses(kubectl, "app=client")
    for server in addresses(kubectl, "app=echo-server"):
        told = json.loads(kubectl.text("exec", "client", "--", "curl", "-s", "-m", "5", f"http://{server}/a/path?b=c"))
        assert told["path"] == "/a/path?b=c"
        assert told["pod"].startswith("echo-server-")
        assert server.startswith("[") or told["source"] == own
    spread = kubectl.text("get", "pods", "-l", "app=echo-server", "-o", "jsonpath={.items[*].spec.nodeName}")
    assert sorted(spread.split()) == ["node1", "node2"]


def test_services_know_their_pods(kubectl: Kubectl) -> None:
    service = json.loads(kubectl.text("get", "service", "echo-server", "-o", "json"))["spec"]
    assert service["ipFamilies"] == ["IPv4", "IPv6"]
    assert 30000 <= service["ports"][0]["nodePort"] <= 32767
    slices = json.loads(
        kubectl.text("get", "endpointslices", "-l", "kubernetes.io/service-name=echo-server", "-o", "json")
    )
    assert sorted(each["addressType"] for each in slices["items"]) == ["IPv4", "IPv6"]
    assert all(len(each["endpoints"]) == 2 for each in slices["items"])


def test_logs_and_a_shell(kubectl: Kubectl) -> None:
    assert "listening: http 80" in kubectl.text("logs", "deployment/deathstar")
    script = b"hostname; cat /etc/resolv.conf\nexit 3\n"
    done = kubectl("exec", "-i", "client", "--", "sh", stdin=script, rc=3)
    assert done.stdout.startswith(b"client\n")
    assert b"svc.cluster.local" in done.stdout
