"""The kubeconfig of an embedded cluster. JSON is YAML too, and needs no YAML library to be written quickly."""

from __future__ import annotations

import base64
import json


def render(cluster: str, server: str, ca_pem: bytes, token: str) -> bytes:
    """Kubeconfig text for one cluster; ``server`` is its https URL. The context is called ``glasshive-<cluster>``."""
    name = f"glasshive-{cluster}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server, "certificate-authority-data": base64.b64encode(ca_pem).decode()},
            }
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
        "preferences": {},
    }
    return json.dumps(document, indent=2).encode() + b"\n"
