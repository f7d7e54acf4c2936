"""For scenarios of policy: pods that ask and answer on a real cluster, and what gets through between them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from glasshive.cluster.session import Cluster

SECONDS = 10.0
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}
spec:
  {where}
  containers: [{{name: main, image: glasshive/{image}, ports: [{ports}]}}]
---
"""


def pod(
    name: str, labels: str = "", *, node: str = "", image: str = "client", namespace: str = "default", ports: str = ""
) -> str:
    """A pod's YAML; ``labels`` and ``ports`` in flow style."""
    where = f"nodeName: {node}" if node else "terminationGracePeriodSeconds: 0"
    return POD.format(
        name=name, namespace=namespace, labels=labels or f"app: {name}", where=where, image=image, ports=ports
    )


def addresses(cluster: Cluster, name: str, namespace: str = "default") -> tuple[str, ...]:
    """A pod's addresses."""
    return next(one.addresses for one in cluster.pods(namespace) if one.name == name)


def url(address: str, port: int = 8080, path: str = "/") -> str:
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}{path}"


def http(cluster: Cluster, client: str, target: str, *, namespace: str = "default", seconds: float = 1.0) -> str:
    """Status of a request, 000 when nothing came back."""
    argv = ["curl", "-gs", "-m", str(seconds), "-o", "/dev/null", "-w", "%{http_code}", target]
    return cluster.exec(client, argv, namespace).stdout


def ping(cluster: Cluster, client: str, address: str, *, namespace: str = "default") -> bool:
    return cluster.exec(client, ["ping", "-c", "1", "-W", "1", address], namespace).returncode == 0


def becomes(check: Callable[[], Any], wanted: Any, what: str = "", seconds: float = SECONDS) -> None:
    """Wait until ``check`` gives ``wanted``."""
    deadline = time.monotonic() + seconds
    while (seen := check()) != wanted:
        assert time.monotonic() < deadline, f"{what or 'still'}: {seen!r}, not {wanted!r}"
        time.sleep(0.05)


def revision(cluster: Cluster, node: str) -> int:
    status = cluster.backend.node_request(node, "GET", "/v1/status")
    return int(status["features"]["policy"]["revision"])


def enforcement(cluster: Cluster, name: str) -> tuple[str, str]:
    """(ingress, egress) of a pod's endpoint."""
    found = next(row for row in cluster.endpoints() if row["pod"] == name)
    return found["policyIngress"], found["policyEgress"]


def apply(cluster: Cluster, text: str, selected: str, wanted: tuple[str, str]) -> None:
    """Apply policies and wait until an endpoint they select is enforced as wanted."""
    cluster.apply(text)
    becomes(lambda: enforcement(cluster, selected), wanted, f"enforcement of {selected}")
