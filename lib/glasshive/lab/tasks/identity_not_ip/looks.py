"""What the tasks of lab 07 look at: which identity a pod has, on every node, and with which labels."""

from __future__ import annotations

from collections.abc import Mapping

from glasshive.lab.checks.outcome import bad, good, judged
from glasshive.lab.grading.reader import ClusterReader, Row
from glasshive.model.check_result import CheckResult


def has_labels(reader: ClusterReader, pod: str, labels: Mapping[str, str], *, why: str = "") -> CheckResult:
    """The identity of a pod was made from (at least) these labels. States: ``no-identity``, ``other-labels``."""
    told = ", ".join(f"{key}={value}" for key, value in labels.items())
    wanted = f"an identity of {pod} with {told}"
    found = _endpoint(reader, pod)
    if found is None:
        return bad(f"{pod} has no identity", wanted, why=why, state="no-identity", moving=True)
    missing = [f"{key}={value}" for key, value in labels.items() if f"k8s:{key}={value}" not in found["labels"]]
    said = f"the identity of {pod} has no {', '.join(missing)}"
    return judged(not missing, said if missing else wanted, wanted, why=why, state="other-labels")


def known_everywhere(reader: ClusterReader, pod: str) -> CheckResult:
    """Every node's ipcache has a pod's own identity for its addresses. State: ``not-known``."""
    found = _endpoint(reader, pod)
    wanted = f"the identity of {pod} for its addresses on every node"
    if found is None:
        return bad(f"{pod} has no identity", wanted, state="not-known", moving=True)
    for node in reader.nodes():
        for address in found["addresses"]:
            rows = reader.rows(node.name, "ipcache", addr=address)
            if [row["identity"] for row in rows] != [found["identity"]]:
                said = f"{node.name} has another identity for {address} of {pod}"
                return bad(said, wanted, why="a node judges by its own ipcache", state="not-known", moving=True)
    return good(wanted)


def same_identity(reader: ClusterReader, pod: str, other: str, *, read: str = "") -> CheckResult:
    """Two pods have one identity. States: ``no-identity``, ``another``."""
    wanted = f"one identity for {pod} and {other}"
    ends = [_endpoint(reader, one) for one in (pod, other)]
    if ends[0] is None or ends[1] is None:
        return bad(f"{pod if ends[0] is None else other} has no identity", wanted, state="no-identity", moving=True)
    labels = [{one for one in end["labels"] if not one.startswith("k8s:io.")} for end in ends if end]
    less, more = sorted(labels[1] - labels[0]), sorted(labels[0] - labels[1])
    told = [f"{pod} lacks {', '.join(less)}"] if less else []
    told += [f"{pod} has {', '.join(more)} besides"] if more else []
    same = ends[0]["identity"] == ends[1]["identity"]
    why = "an identity stands for a set of labels: one label more or less is another set"
    return judged(same, wanted if same else "; ".join(told) or f"{pod} has another identity", wanted,
                  why=why, read=read, state="another")  # fmt: skip


def labels_are(reader: ClusterReader, pods: Mapping[str, Mapping[str, str]]) -> CheckResult:
    """Pods have the very labels that they had. State: ``relabelled``."""
    for name, labels in pods.items():
        found = reader.pod(name)
        if found is None or found.labels != dict(labels):
            said = f"{name} has {_told(found.labels)}" if found else f"{name} is gone"
            return bad(said, f"{name} with {_told(labels)}", why="others were to stay as they are", state="relabelled")
    return good(f"{', '.join(pods)} have the labels that they had")


def _told(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "no labels"


def _endpoint(reader: ClusterReader, pod: str) -> Row | None:
    """What its agent knows of a pod, labels included; None while it runs nowhere."""
    found = reader.pod(pod)
    rows = reader.ask(found.node, "/v1/endpoints") if found and found.node else []
    return next((row for row in rows if (row["namespace"], row["pod"]) == (reader.namespace, pod)), None)
