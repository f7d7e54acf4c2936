"""Identities as bubbles: who shares one, what the text twin says, and what an ipcache makes of an address."""

from __future__ import annotations

from typing import Any

from glasshive.lab import identities
from glasshive.widgets import IdentityView
from glasshive.widgets.identity_view import MOST_PODS, state, text

SPACE = "k8s:io.kubernetes.pod.namespace=lab-07"


def endpoint(pod: str, number: int, app: str, node: str = "node1", namespace: str = "lab-07") -> dict[str, Any]:
    labels = [f"k8s:app={app}", f"k8s:io.kubernetes.pod.namespace={namespace}"]
    return {"pod": pod, "namespace": namespace, "node": node, "identity": number, "labels": labels}


ENDPOINTS = [
    endpoint("wasp", 301, "wasp", "node2"),
    endpoint("bee-2", 300, "bee", "node3"),
    endpoint("stranger", 400, "bee", namespace="other"),
    endpoint("bee-1", 300, "bee", "node2"),
]


def test_pods_of_the_namespace_are_grouped_by_identity() -> None:
    found = identities.groups(ENDPOINTS, "lab-07")
    assert [(one["labels"], [pod["name"] for pod in one["pods"]]) for one in found] == [
        ("app=bee", ["bee-1", "bee-2"]), ("app=wasp", ["wasp"]),
    ]  # fmt: skip


def test_the_text_says_who_shares_and_has_no_numbers() -> None:
    told = text("lab-07", identities.groups(ENDPOINTS, "lab-07"))
    assert told.splitlines() == [
        "lab-07: 3 pods, 2 identities",
        "  app=bee   bee-1 (node2), bee-2 (node3)",
        "  app=wasp  wasp (node2)",
    ]
    assert text("lab-07", []) == "lab-07: 0 pods, 0 identities"
    assert text("x", identities.groups([endpoint("web", 7, "web")], "lab-07")).startswith("x: 1 pod, 1 identity\n")


def test_a_change_of_labels_moves_a_pod() -> None:
    view = IdentityView("lab-07", identities.groups(ENDPOINTS, "lab-07"))
    assert len(view) == 2
    view.update(identities.groups([{**ENDPOINTS[0], **endpoint("wasp", 300, "bee")}, *ENDPOINTS[1:]], "lab-07"))
    assert len(view) == 1
    assert repr(view).startswith("lab-07: 3 pods, 1 identity")


def test_many_pods_are_counted_and_not_all_drawn() -> None:
    many = [endpoint(f"pod-{at:03}", 300 + at // 250, "bee") for at in range(500)]
    shown = state("lab-07", identities.groups(many, "lab-07"))["groups"]
    assert [(len(one["pods"]), one["count"]) for one in shown] == [(250, 250), (MOST_PODS - 250, 250)]
    assert "and 242 more" in text("lab-07", identities.groups(many, "lab-07"))


def test_the_longest_prefix_says_who_has_an_address() -> None:
    table = [
        {"prefix": "0.0.0.0/0", "identity": 9, "labels": ["reserved:world-ipv4"], "node": ""},
        {"prefix": "::/0", "identity": 10, "labels": ["reserved:world-ipv6"], "node": ""},
        {"prefix": "10.244.1.0/24", "identity": 9, "labels": ["reserved:world-ipv4"], "node": "172.30.0.12"},
        {"prefix": "10.244.1.5/32", "identity": 300, "labels": ["k8s:app=bee", SPACE], "node": "172.30.0.12"},
    ]
    who = {"bee": "10.244.1.5", "nobody": "10.244.1.6", "outside": "192.0.2.1", "six": "2001:db8::1"}
    rows = identities.known_as(who, table, {"172.30.0.12": "node2"}, "lab-07")
    assert [(row["found by"], row["identity of"], row["number"], row["behind"]) for row in rows] == [
        ("/32", "app=bee", "the cluster's own", "node2"),
        ("/24", "world-ipv4", 9, "node2"),
        ("/0", "world-ipv4", 9, "-"),
        ("/0", "world-ipv6", 10, "-"),
    ]
