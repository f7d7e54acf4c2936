"""The rows of an endpoint's policy, as its node's kernel holds them; a row lights up when it has decided a packet.

Given an endpoint's record as its agent tells it (``GET /v1/endpoints/NAME``: ``map``, ``policyIngress`` and so on).
Counts of packets are in the browser's table and not in the text twin, which says only which rows have moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from glasshive.widgets.view import STATIC, View

MOST_ROWS = 500
_ROWS_IN_TEXT = 30
_NAMESPACE = "k8s:io.kubernetes.pod.namespace="
_GENERATED = (_NAMESPACE, "k8s:io.cilium.k8s.")
_COLUMNS = ("direction", "peer", "port", "verdict", "rule")
_ANYBODY = "any"

Row = dict[str, Any]
Counts = dict[str, int]


class PolicyView(View):
    """A policy's rows in a table. ``before``: packets of each row (``counts``) when somebody last looked."""

    _esm = STATIC / "policy_view.js"
    _css = STATIC / "view.css"

    def __init__(self, endpoint: Mapping[str, Any], before: Counts | None = None) -> None:
        super().__init__(*_both(endpoint, before))
        self._seen = counts(rows(endpoint))

    def __len__(self) -> int:
        return int(self.state["count"])

    def update(self, endpoint: Mapping[str, Any]) -> None:
        """Show something newer; rows that have moved since are lit."""
        self.put(*self._next(endpoint))

    def live(self, fetch: Callable[[], Mapping[str, Any]], *, per_second: float = 10.0) -> Self:
        """Show what ``fetch`` gives, again and again, until ``stop``; at most 20 times a second.

        What arrives between two looks is shown by one; a look that finds nothing new sends nothing.
        """
        return self.keep_fresh(lambda: self._next(fetch()), per_second=per_second)

    def _next(self, endpoint: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        found = _both(endpoint, self._seen)
        self._seen = counts(rows(endpoint))
        return found


def rows(endpoint: Mapping[str, Any]) -> list[Row]:
    """The policy's rows in short, in an order of their own: ingress first, named peers, anybody last.

    Columns: ``direction peer port verdict packets bytes rule identity labels policy`` (the number of the set of rows).
    """
    home = str(endpoint.get("namespace", ""))
    found = [
        {
            "direction": str(row["direction"]).lower(),
            "peer": peer_text(row["labels"], int(row["identity"]), home),
            "port": str(row["portProtocol"]).replace("ANY", _ANYBODY),
            "verdict": str(row["verdict"]).lower(),
            "packets": int(row["packets"]),
            "bytes": int(row["bytes"]),
            "rule": str(row["rule"]).replace(f" {home}/", " "),
            "identity": int(row["identity"]),
            "labels": list(row["labels"]),
            "policy": int(row["policy"]),
        }
        for row in endpoint["map"]
    ]
    return sorted(found, key=_place)


def peer_text(labels: Sequence[str], identity: int, namespace: str = "") -> str:
    """A peer in short: the labels that somebody chose, ``host``, a CIDR; and its namespace if it is another one."""
    if not identity:
        return _ANYBODY
    blocks = [label.removeprefix("cidr:") for label in labels if label.startswith("cidr:")]
    if blocks:
        return blocks[0].replace("-", ":")
    chosen = sorted(label.split(":", 1)[1] for label in labels if not label.startswith(_GENERATED))
    home = next((label.removeprefix(_NAMESPACE) for label in labels if label.startswith(_NAMESPACE)), namespace)
    shown = ",".join(chosen) or ("no labels" if labels else f"identity {identity}")
    return shown if home == namespace else f"{shown} (in {home})"


def counts(found: Sequence[Row]) -> Counts:
    """Packets by row: what ``before`` of a later look wants."""
    return {_counter(row): int(row["packets"]) for row in found}


def in_audit(endpoint: Mapping[str, Any]) -> bool:
    """Whether what the policy refuses passes all the same."""
    return bool(endpoint.get("options", {}).get("PolicyAuditMode") == "Enabled")


def summary(endpoint: Mapping[str, Any]) -> str:
    """What is enforced, in a line. A direction that nothing enforces lets everything pass."""
    sides = {side: endpoint[f"policy{side.capitalize()}"] for side in ("ingress", "egress")}
    enforced = {side: word for side, word in sides.items() if word != "Disabled"}
    name = f"policy of {endpoint['pod']}"
    if not enforced:
        return f"{name}: nothing is enforced, so everything passes, in and out"
    words = [f"{side} {'enforced' if side in enforced else 'open: everything passes'}" for side in sides]
    told = f"{name}: {', '.join(words)}"
    return f"{told} (audit: what is refused passes all the same, and is told)" if in_audit(endpoint) else told


def text(endpoint: Mapping[str, Any], before: Counts | None = None) -> str:
    """The table as text: the first 30 rows, a star at those that have decided packets since ``before``."""
    found = rows(endpoint)
    head = summary(endpoint)
    if not found:
        return head
    lines = [["", *_COLUMNS]]
    lines += [["*" if _moved(row, before) else "", *(str(row[name]) for name in _COLUMNS)] for row in found]
    lines = lines[: _ROWS_IN_TEXT + 1]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    more = [f"... and {len(found) - _ROWS_IN_TEXT} more"] if len(found) > _ROWS_IN_TEXT else []
    note = ["* has decided packets since the last look"] if any(line[0] for line in lines[1:]) else []
    return "\n".join([head, *(f"  {line}" for line in [*shown, *more, *note])])


def state(endpoint: Mapping[str, Any], before: Counts | None = None) -> dict[str, Any]:
    """What the browser's part shows."""
    found = rows(endpoint)
    return {
        "title": summary(endpoint),
        "rows": [{**row, "key": _key(row), "moved": _moved(row, before)} for row in found[:MOST_ROWS]],
        "count": len(found),
        "alt": text(endpoint, before),
        "audit": in_audit(endpoint),
        "live": False,
        "problem": "",
    }


def _both(endpoint: Mapping[str, Any], before: Counts | None) -> tuple[dict[str, Any], str]:
    return state(endpoint, before), text(endpoint, before)


def _key(row: Row) -> str:
    return f"{row['direction']} {row['identity']} {row['port']}"


def _counter(row: Row) -> str:
    """What a row's count belongs to: another set of rows takes over when rules change, and counts from 0."""
    return f"{row['policy']} {_key(row)}"


def _moved(row: Row, before: Counts | None) -> int:
    """Packets since the last look. A row that is new then, or counts anew, has moved by all it has."""
    if before is None:
        return 0
    since = int(row["packets"]) - before.get(_counter(row), 0)
    return since if since >= 0 else int(row["packets"])


def _place(row: Row) -> tuple[Any, ...]:
    return row["direction"] != "ingress", not row["identity"], row["peer"], row["port"] == _ANYBODY, row["port"]
