"""What labs do with policy, on a real cluster: each call returns when every node acts on it, and a reset undoes it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from glasshive.agent.policy import settings
from glasshive.cluster import Cluster
from glasshive.errors import NotFoundError, UsageError
from glasshive.lab import doors, enforcement
from glasshive.lab.kit import Lab
from glasshive.lab.manifest import find_lab

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: labs run on a cluster of network namespaces"),
]

DOOR = doors.door("door", "web", {"app": "bee"})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(f"policies-{os.getpid()}", nodes=3) as made:
        yield made


@pytest.fixture
def lab(cluster: Cluster) -> Iterator[Lab]:
    """web, bee and wasp on three nodes, in the namespace of lab 07."""
    made = Lab.on(cluster, find_lab("07"))
    for name, node in (("web", "node1"), ("bee", "node2"), ("wasp", "node3")):
        made.pod(name, node=node)
    yield made
    made.reset()


def answered(lab: Lab, *ways: tuple[str, str], port: int = 8080) -> list[str]:
    return [row[3] for row in lab.reach(ways, port=port).state["rows"]]


def modes(cluster: Cluster) -> set[str]:
    nodes = [one.name for one in cluster.topology().nodes]
    return {cluster.backend.node_request(node, "GET", "/v1/config")["PolicyEnforcement"] for node in nodes}


def set_by_hand(cluster: Cluster, **data: str) -> None:
    meta = {"name": settings.CONFIG_NAME, "namespace": settings.CONFIG_NAMESPACE}
    keys = {key.replace("_", "-"): value for key, value in data.items()}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": keys})


def told(cluster: Cluster) -> dict[str, str] | None:
    found = [one for one in cluster.get("ConfigMap", namespace=settings.CONFIG_NAMESPACE)
             if one["metadata"]["name"] == settings.CONFIG_NAME]  # fmt: skip
    return found[0].get("data") if found else None


def test_a_policy_is_in_force_and_out_of_force_when_the_call_returns(lab: Lab) -> None:
    for _ in range(3):
        assert lab.policy(DOOR) == ["CiliumNetworkPolicy door: in force"]
        assert answered(lab, ("bee", "web"), ("wasp", "web"), ("web", "wasp")) == ["yes", "none", "yes"]
        assert lab.policy(doors.door("door", "web", {"app": "wasp"})) == ["CiliumNetworkPolicy door: in force"]
        assert answered(lab, ("bee", "web"), ("wasp", "web")) == ["none", "yes"]
        assert lab.no_policy() == "no longer in force: door"
        assert answered(lab, ("bee", "web"), ("wasp", "web")) == ["yes", "yes"]
    assert lab.no_policy() == "no longer in force: nothing, there was none"


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda lab: lab.policy(DOOR), id="policy"),
        pytest.param(lambda lab: lab.no_policy(), id="no-policy"),
        pytest.param(lambda lab: lab.enforce("always"), id="mode"),
        pytest.param(lambda lab: lab.relabel("wasp", app="bee"), id="relabel"),
    ],
)
def test_no_call_returns_before_the_last_node_has_it(cluster: Cluster, lab: Lab, act: Callable[[Lab], object]) -> None:
    """An agent that is held up holds the call up, also on a node that the change is of no use to."""
    lab.policy(doors.door("other", "bee", {"app": "wasp"}))
    agent = next(one.pid for one in cluster.backend.status().processes if one.name == "node2")
    with ThreadPoolExecutor(1) as pool:
        os.kill(agent, signal.SIGSTOP)
        try:
            done = pool.submit(act, lab)
            with pytest.raises(TimeoutError):
                done.result(0.7)
        finally:
            os.kill(agent, signal.SIGCONT)
        done.result(20)


def test_only_the_policies_named_are_taken_away(lab: Lab) -> None:
    lab.policy(DOOR, doors.door("more", "web", {"app": "wasp"}))
    assert lab.no_policy("more", "unheard-of") == "no longer in force: more"
    assert answered(lab, ("bee", "web"), ("wasp", "web")) == ["yes", "none"]


def test_a_policy_that_makes_no_sense_is_told_and_not_waited_for(lab: Lab) -> None:
    bad = doors.cilium("odd", {"endpointSelector": {"matchLabels": {"app": "web"}}, "ingress": []})
    (line,) = lab.policy(bad)
    assert line.startswith("CiliumNetworkPolicy odd: not valid, error: spec: rule must have at least one of")
    assert answered(lab, ("bee", "web")) == ["yes"]


def test_a_mode_holds_on_every_node_and_a_reset_leaves_none(cluster: Cluster, lab: Lab) -> None:
    assert told(cluster) is None
    for _ in range(3):
        lab.enforce("always")
        assert modes(cluster) == {"always"}
        assert answered(lab, ("bee", "web")) == ["none"]
        lab.enforce("never")
        assert answered(lab, ("bee", "web")) == ["yes"]
    lab.enforce("always")
    with pytest.raises(UsageError, match="no mode"):
        lab.enforce("sometimes")
    assert modes(cluster) == {"always"}
    lab.reset()
    assert modes(cluster) == {"default"}
    assert told(cluster) is None


def test_what_was_set_before_the_lab_is_set_after_it(cluster: Cluster, lab: Lab) -> None:
    set_by_hand(cluster, enable_policy="never", policy_audit_mode="true")
    try:
        lab.enforce("always")
        set_by_hand(cluster, enable_policy="default", policy_audit_mode="true")  # as `glasshive config set` does
        lab.reset()
        assert modes(cluster) == {"never"}
        assert told(cluster) == {"enable-policy": "never", "policy-audit-mode": "true"}
    finally:
        cluster.delete("configmap", settings.CONFIG_NAME, settings.CONFIG_NAMESPACE)


def test_a_lab_that_set_no_mode_leaves_what_others_have_set(cluster: Cluster, lab: Lab) -> None:
    set_by_hand(cluster, enable_policy="never")
    try:
        lab.reset()
        assert told(cluster) == {"enable-policy": "never"}
    finally:
        cluster.delete("configmap", settings.CONFIG_NAME, settings.CONFIG_NAMESPACE)


def test_another_identity_is_known_everywhere_when_the_call_returns(cluster: Cluster, lab: Lab) -> None:
    lab.policy(DOOR)
    for _ in range(3):
        assert lab.relabel("wasp", app="bee", shift="late") == "wasp: app=bee,shift=late"
        assert answered(lab, ("wasp", "web")) == ["yes"]
        assert lab.relabel("wasp", app="wasp", shift=None) == "wasp: app=wasp"
        assert answered(lab, ("wasp", "web")) == ["none"]
    lab.pod("late", image="glasshive/nothing", wait_s=0)
    with pytest.raises(UsageError, match="does not run yet"):
        lab.relabel("late", app="bee")


def test_identities_and_who_is_taken_for_whom(lab: Lab) -> None:
    lab.pod("bee-2", node="node1", labels={"app": "bee"})
    assert lab.identity("bee-2") == lab.identity("bee") != lab.identity("wasp")
    assert [(one["labels"], [pod["name"] for pod in one["pods"]]) for one in lab.identity_groups()] == [
        ("app=bee", ["bee", "bee-2"]), ("app=wasp", ["wasp"]), ("app=web", ["web"]),
    ]  # fmt: skip
    rows = lab.known_as("node3", "bee", "node1", "node3", "192.0.2.1").state["rows"]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("bee", "app=bee", "the cluster's own"), ("node1", "remote-node", 6), ("node3", "host", 1),
        ("192.0.2.1", "world-ipv4", 9),
    ]  # fmt: skip
    lab.forge("wasp", "bee", "web")
    assert lab.last_drop("invalid-source-ip").startswith(f"node3 dropped UDP {lab.address('bee')} -> ")


def test_rows_are_marked_when_they_have_decided(lab: Lab) -> None:
    lab.policy(DOOR)
    assert "*" not in repr(lab.policy_view("web"))
    lab.reach([("wasp", "web")])
    starred = [line.split()[1:4] for line in repr(lab.policy_view("web")).splitlines() if line.startswith("  *  ")]
    assert starred == [["ingress", "any", "any"]]
    assert lab.policy_rows("web", ["port", "verdict"], peer="app=bee") == [
        {"port": "8080/TCP", "verdict": "allow"}, {"port": "any", "verdict": "default deny"},
    ]  # fmt: skip
    assert lab.policy_rows("wasp") == []
    assert lab.enforced("web", "wasp").state["rows"] == [
        ["wasp", "Disabled", "Disabled"],
        ["web", "Enabled", "Disabled"],
    ]
    with pytest.raises(NotFoundError, match="no pod 'nobody'"):
        lab.policy_view("nobody")


def test_audit_lets_pass_what_the_policy_refuses_and_tells(lab: Lab) -> None:
    lab.policy(DOOR)
    lab.audit("web")
    assert answered(lab, ("wasp", "web")) == ["yes"]
    assert lab.why("wasp", "web", "8080/TCP").splitlines()[-1].endswith("audit mode let it pass all the same")
    lab.audit("web", on=False)
    assert answered(lab, ("wasp", "web")) == ["none"]


def test_why_says_what_the_objects_and_the_kernels_say(lab: Lab) -> None:
    lab.policy(DOOR)
    before = lab.why("wasp", "web", "9000/TCP")
    assert before.endswith("policy has judged no such packet so far")
    lab.reach([("wasp", "web")])
    said = lab.why("wasp", "web", "8080/TCP")
    assert "ingress of web: DENIED (default deny)" in said
    assert lab.namespace not in said
    assert said.splitlines()[-1] == "the last such packet, ingress at node1: policy refused it: no rule allows it"
    assert repr(said) == str(said)


def test_waiting_has_an_end(cluster: Cluster, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that no node holds, as it was never applied."""
    monkeypatch.setattr(enforcement, "_WAIT_SECONDS", 0.2)
    meta = {**DOOR["metadata"], "namespace": lab.namespace, "uid": "none", "generation": 1}
    with pytest.raises(enforcement.DeadlineError, match="CiliumNetworkPolicy door to be in force on every node"):
        enforcement.wait_in_force(cluster, {**DOOR, "metadata": meta})
