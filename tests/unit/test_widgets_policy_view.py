"""The view of a policy's rows: short peers, order, which rows moved, what is said when nothing is enforced."""

from __future__ import annotations

from typing import Any

from glasshive.lab import reasons
from glasshive.widgets import PolicyView
from glasshive.widgets.policy_view import counts, peer_text, rows, state, summary, text

SPACE = "k8s:io.kubernetes.pod.namespace=lab"
CLUSTER = "k8s:io.cilium.k8s.policy.cluster=c"


def row(  # noqa: PLR0917 - as the columns stand
    identity: int, labels: list[str], port: str, verdict: str, packets: int = 0, rule: str = ""
) -> dict[str, Any]:
    return {
        "direction": "Ingress", "identity": identity, "labels": labels, "portProtocol": port, "verdict": verdict,
        "packets": packets, "bytes": 60 * packets, "rule": rule, "policy": 3,
    }  # fmt: skip


def endpoint(*found: dict[str, Any], ingress: str = "Enabled", egress: str = "Disabled") -> dict[str, Any]:
    return {"pod": "web", "namespace": "lab", "map": list(found), "policyIngress": ingress, "policyEgress": egress}


def web(allowed: int = 0, refused: int = 0) -> dict[str, Any]:
    client = ["k8s:app=client", CLUSTER, SPACE]
    return endpoint(
        row(0, [], "ANY", "Default deny", refused),
        row(700, client, "ANY", "Default deny", 0),
        row(700, client, "80/TCP", "Allow", allowed, "CiliumNetworkPolicy lab/web, ingress[0]"),
        row(1, ["reserved:host"], "ANY", "Allow", 9),
    )


def test_peers_in_short() -> None:
    assert peer_text([], 0) == "any"
    assert peer_text(["reserved:world-ipv4", "cidr:10.0.0.0/8"], 1 << 24) == "10.0.0.0/8"
    assert peer_text(["cidr:fd00-10--0/64"], 1 << 24) == "fd00:10::0/64"
    assert peer_text(["k8s:b=2", "k8s:a=1", CLUSTER, SPACE], 700, "lab") == "a=1,b=2"
    assert peer_text(["k8s:a=1", SPACE], 700, "other") == "a=1 (in lab)"
    assert peer_text([SPACE], 700, "lab") == "no labels"
    assert peer_text([], 700) == "identity 700"  # its labels are not known any more


def test_rows_have_an_order_of_their_own() -> None:
    found = [(one["peer"], one["port"]) for one in rows(web())]
    assert found == [("app=client", "80/TCP"), ("app=client", "any"), ("host", "any"), ("any", "any")]
    assert rows(web())[0]["rule"] == "CiliumNetworkPolicy web, ingress[0]"


def test_the_text_marks_what_moved_and_has_no_counts() -> None:
    first = counts(rows(web(allowed=3)))
    moved = text(web(allowed=1234, refused=1), first).splitlines()
    assert [line.split()[:3] for line in moved if line.startswith("  *  ")] == [
        ["*", "ingress", "app=client"], ["*", "ingress", "any"],
    ]  # fmt: skip
    assert "1234" not in "\n".join(moved)
    assert "*" not in text(web(allowed=3), first)
    assert "*" not in text(web(allowed=3))  # a first look has nothing to compare with


def test_a_row_that_counts_anew_has_moved_by_what_it_has() -> None:
    before = counts(rows(web(allowed=100)))
    assert [one["moved"] for one in state(web(allowed=4), before)["rows"]] == [4, 0, 0, 0]
    new = state(web(allowed=4), {"3 ingress 1 any": 9})["rows"]
    assert new[0]["moved"] == 4


def test_rows_of_a_new_set_count_from_nothing() -> None:
    """When rules change, another set of rows takes over: as many packets as the old one had are news all the same."""
    old = counts(rows(web(allowed=6)))
    changed = web(allowed=6)
    for one in changed["map"]:
        one["policy"] = 4
    assert [one["moved"] for one in state(changed, old)["rows"]] == [6, 0, 9, 0]


def test_what_is_enforced_is_said() -> None:
    assert summary(endpoint(ingress="Disabled")).endswith("nothing is enforced, so everything passes, in and out")
    assert summary(web()).endswith("ingress enforced, egress open: everything passes")
    audit = {**endpoint(ingress="Disabled (Audit)"), "options": {"PolicyAuditMode": "Enabled"}}
    assert "ingress enforced" in summary(audit)
    assert "audit" in summary(audit)
    assert [state(one)["audit"] for one in (audit, web())] == [True, False]


def test_a_view_lights_against_its_last_look() -> None:
    view = PolicyView(web(allowed=1))
    assert len(view) == 4
    assert "*" not in repr(view)
    view.update(web(allowed=2))
    assert view.state["rows"][0]["moved"] == 1
    view.update(web(allowed=2))
    assert view.state["rows"][0]["moved"] == 0
    view.close()


def test_reasons_without_numbers() -> None:
    told = reasons.told(
        "ingress of lab/web: DENIED\n  row          policy 7 ingress, identity 700, 80/TCP\n"
        "  because      CiliumNetworkPolicy lab/web, ingress[0] allows it", "lab", {700: "app=client"},
    )  # fmt: skip
    assert told.splitlines() == [
        "ingress of web: DENIED",
        "  row          ingress, identity of app=client, 80/TCP",
        "  because      CiliumNetworkPolicy web, ingress[0] allows it",
    ]


def record(side: str, port: int, verdict: str, *, audited: bool = False) -> dict[str, Any]:
    return {
        "policyDirection": side, "node": "node1", "verdict": verdict, "audited": audited, "protocol": "TCP",
        "source": "10.0.0.1", "sourcePort": port, "destination": "10.0.0.2", "destinationPort": 80,
    }  # fmt: skip


def test_judgements_are_of_the_last_flow_alone() -> None:
    found = reasons.judgements([record("egress", 1, "allow"), record("ingress", 2, "deny-default", audited=True)])
    assert len(found) == 1
    assert "refused it" in found[0]
    assert "audit" in found[0]
    assert reasons.judgements([]) == ["policy has judged no such packet so far"]
