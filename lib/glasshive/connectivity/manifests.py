"""The objects of a connectivity test. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from glasshive.api.resources import NAMESPACE, POD, SERVICE
from glasshive.connectivity import remote
from glasshive.connectivity.scenarios import HEADLESS
from glasshive.connectivity.scenarios import SERVICE as SERVICE_NAME

PORT = 9100
LABEL = "glasshive.io/connectivity-test"
SELECTOR = f"{LABEL}=true"
READY_FILE = "/tmp/ready"  # noqa: S108 - inside the pod's own file system
LIFETIME_SECONDS = 3600


def settings(
    secret: str, name: str, port: int, addresses: Sequence[str], *, lifetime: int = 300, ready_file: str = ""
) -> str:
    """Return the responder's argument."""
    return json.dumps(
        {
            "secret": secret,
            "name": name,
            "port": port,
            "addresses": list(addresses),
            "lifetime_seconds": lifetime,
            "ready_file": ready_file,
        }
    )


def everything(namespace: str, nodes: Sequence[str], secret: str) -> list[dict[str, Any]]:
    """Return the namespace, two pods for each node, and two Services over the echo pods."""
    labels = {LABEL: "true"}
    made = [NAMESPACE.object(namespace, metadata={"labels": labels})]
    for node in nodes:
        made += [_pod("client", node, namespace, secret), _pod("echo", node, namespace, secret)]
    ports = [{"name": kind.lower(), "port": PORT, "protocol": kind} for kind in ("TCP", "UDP")]
    spec: dict[str, Any] = {"selector": {"part": "echo"}, "ports": ports, "ipFamilyPolicy": "PreferDualStack"}
    made.append(SERVICE.object(SERVICE_NAME, namespace, spec=spec | {"type": "NodePort"}))
    made.append(SERVICE.object(HEADLESS, namespace, spec=spec | {"clusterIP": "None"}))
    return made


def _pod(kind: str, node: str, namespace: str, secret: str) -> dict[str, Any]:
    name = f"{kind}-{node}"
    given = settings(secret + name, name, PORT, [], lifetime=LIFETIME_SECONDS, ready_file=READY_FILE)
    container = {
        "name": kind,
        "image": "python",
        "command": ["python3", "-I", "-S", "-u", "-c", remote.source("responder"), given],
        "readinessProbe": {"exec": {"command": ["test", "-e", READY_FILE]}, "periodSeconds": 1},
    }
    spec = {
        "nodeName": node,
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    return POD.object(name, namespace, metadata={"labels": {"part": kind}}, spec=spec)
