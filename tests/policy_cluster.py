"""For scenarios of policy: pods that ask and answer on a real cluster, and what gets through between them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, Self

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


def http(cluster: Cluster, client: str, target: str, *, namespace: str = "default") -> str:
    """Status of a request, 000 when no connection came about. (A loaded machine may take its time to answer.)"""
    argv = ["curl", "-gs", "--connect-timeout", "2", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", target]
    return cluster.exec(client, argv, namespace).stdout


def ping(cluster: Cluster, client: str, address: str, *, namespace: str = "default") -> bool:
    return cluster.exec(client, ["ping", "-c", "2", "-i", "0.2", "-W", "2", address], namespace).returncode == 0


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


TALK = """
import socket, sys, time
tcp = sys.argv[1] == "tcp"
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
s.settimeout(0.5)
s.connect((sys.argv[2], int(sys.argv[3])))
words = b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" if tcp else b"ping"
number = 0
while True:
    try:
        s.send(words)
        s.recv(65536)
        number += 1
    except OSError as error:
        if not isinstance(error, TimeoutError) and tcp:
            raise
    print(number, flush=True)
    time.sleep(0.05)
"""


class Talk:
    """One connection from a pod that asks again and again, and counts answers."""

    def __init__(self, cluster: Cluster, pod: str, protocol: str, address: str, port: int) -> None:
        space = next(row["netns"] for row in cluster.endpoints() if row["pod"] == pod)
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            ["nsenter", f"--net={space}", sys.executable, "-c", TALK, protocol, address, str(port)],
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._out.close()

    def count(self) -> int:
        """How many answers came so far."""
        # pread: the child shares the file's position, and a seek here would move where it writes.
        text = os.pread(self._out.fileno(), 1 << 24, 0).decode()
        lines = text.rpartition("\n")[0].splitlines()  # the last line may be half written
        assert not lines or lines[-1].isdigit(), "\n".join(lines[-5:])
        return int(lines[-1]) if lines else 0

    def rests(self) -> bool:
        """Whether nothing comes for a while."""
        before = self.count()
        time.sleep(1.5)
        return self.count() == before
