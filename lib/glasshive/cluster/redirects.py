"""Local redirect policies as nodes carry them out, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from glasshive.cluster.backend import Backend
from glasshive.cluster.rows import Rows

COLUMNS = {"node": "NODE", "namespace": "LRP NAMESPACE", "name": "LRP NAME", "frontendType": "FRONTENDTYPE",
           "service": "MATCHING SERVICE", "shown": "FRONTEND -> BACKENDS"}  # fmt: skip


def redirects(backend: Backend, nodes: Sequence[str]) -> Rows:
    """Every policy on every node. ``why`` says why nothing is redirected there."""
    rows = []
    for node in nodes:
        for one in backend.node_request(node, "GET", "/v1/redirects"):
            pairs = [f"{made['frontend']} -> {', '.join(made['backends'])}" for made in one["frontends"]]
            rows.append({"node": node, **one, "shown": pairs or [one["why"]]})
    return Rows("local redirect policies", COLUMNS, rows)
