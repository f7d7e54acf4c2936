"""The scheduler's decisions, without a server: which node, and why not the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane import node_object
from glasshive.kube.objects import Object
from glasshive.operator import fit
from glasshive.operator.placements import NodeLoad, Placements, demand_of
from glasshive.operator.pod_affinity import Neighbour, rule
from glasshive.operator.quantity import milli


def pod(name: str = "p", *, owner: str = "", **spec: object) -> Object:
    metadata: Object = {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": {"app": "x"}}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "kind": "ReplicaSet", "name": owner, "controller": True}]
    return {"metadata": metadata, "spec": {"containers": [{"name": "c"}], **spec}}


def why(subject: Object, node: Object, load: NodeLoad | None = None) -> str:
    return fit.refusal(subject, demand_of(subject), node, load or NodeLoad())


def affinity(*expressions: Object, kind: str = "matchExpressions") -> Object:
    required = {"nodeSelectorTerms": [{kind: list(expressions)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


TAINT = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("spec", "node", "reason"),
    [
        ({}, {}, ""),
        ({"nodeSelector": {"disk": "ssd"}}, {}, "node selector disk=ssd does not match"),
        ({"nodeSelector": {"disk": "ssd"}}, {"labels": {"disk": "ssd"}}, ""),
        ({}, {"taints": [TAINT]}, "untolerated taint dedicated=gpu:NoSchedule"),
        ({"tolerations": [{"key": "dedicated", "operator": "Exists"}]}, {"taints": [TAINT]}, ""),
        ({"tolerations": [{"key": "dedicated", "value": "gpu"}]}, {"taints": [TAINT]}, ""),
        ({"tolerations": [{"key": "dedicated", "value": "x"}]}, {"taints": [TAINT]}, "untolerated taint"),
        ({"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}, {"taints": [TAINT]}, "untolerated"),
        ({"tolerations": [{"operator": "Exists"}]}, {"taints": [TAINT]}, ""),
        ({}, {"taints": [TAINT | {"effect": "PreferNoSchedule"}]}, ""),
        ({}, {"unschedulable": True}, "cordoned"),
        ({}, {"ready": False}, "not ready: paper says so"),
        (
            {"affinity": affinity({"key": "zone", "operator": "In", "values": ["a"]})},
            {"labels": {"zone": "a"}},
            "",
        ),
        ({"affinity": affinity({"key": "zone", "operator": "NotIn", "values": ["a"]})}, {}, ""),
        ({"affinity": affinity({"key": "zone", "operator": "Exists"})}, {}, "required node affinity"),
        ({"affinity": affinity({"key": "zone", "operator": "DoesNotExist"})}, {"labels": {"zone": "a"}}, "affinity"),
        ({"affinity": affinity({"key": "cpu", "operator": "Gt", "values": ["4"]})}, {"labels": {"cpu": "8"}}, ""),
        (
            {"affinity": affinity({"key": "cpu", "operator": "Lt", "values": ["4"]})},
            {"labels": {"cpu": "8"}},
            "affinity",
        ),
        (
            {"affinity": affinity({"key": "metadata.name", "operator": "In", "values": ["n"]}, kind="matchFields")},
            {},
            "",
        ),
        ({"nodeName": "other"}, {}, "spec.nodeName"),
    ],
)
def test_refusals(spec: Object, node: Object, reason: str) -> None:
    found = why(pod(**spec), node_object("n", **node))
    assert reason in found if reason else found == ""


def test_room() -> None:
    node = node_object("n")
    big = pod(containers=[{"name": "c", "resources": {"requests": {"cpu": "7500m"}}}])
    books = Placements()
    books.assume(big, "n")
    other = pod("q", containers=[{"name": "c", "resources": {"requests": {"cpu": "600m", "memory": "1Gi"}}}])
    assert why(other, node, books.load("n")) == "too little cpu left"
    books.remove(big)
    assert why(other, node, books.load("n")) == ""
    port = pod("r", containers=[{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}]}])
    books.assume(port, "n")
    twin = port | {"metadata": port["metadata"] | {"uid": "other"}}
    assert why(twin, node, books.load("n")) == "host port 8080/TCP in use"
    node["status"]["allocatable"]["pods"] = "1"
    assert why(pod("s"), node, books.load("n")) == "maximum of 1 pods reached"
    exotic = pod(containers=[{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}])
    assert why(exotic, node) == "too little example.com/gpu left"


def place(books: Placements, subject: Object, nodes: list[Object]) -> str:
    name, _ = fit.choose(subject, demand_of(subject), ((n, books.load(n["metadata"]["name"])) for n in nodes))
    if name:
        books.assume(subject, name)
    return name


def test_replicas_of_one_owner_are_spread_even_where_others_crowd() -> None:
    nodes = [node_object(f"n{i}") for i in range(3)]
    books = Placements()
    for i in range(4):
        books.assume(pod(f"crowd{i}", owner="other"), "n0")
    where = [place(books, pod(f"p{i}", owner="rs"), nodes) for i in range(3)]
    assert sorted(where) == ["n0", "n1", "n2"]


def test_single_pods_are_spread_by_count() -> None:
    nodes = [node_object(f"n{i}") for i in range(2)]
    books = Placements()
    for i in range(3):
        books.assume(pod(f"crowd{i}", owner="other"), "n0")
    one = pod("one")
    one["metadata"]["labels"] = {"app": "one"}
    assert place(books, one, nodes) == "n1"


def test_preferred_affinity_comes_first() -> None:
    nodes = [node_object("n0"), node_object("n1", labels={"disk": "ssd"})]
    wish = {"weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}
    spec = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}
    books = Placements()
    assert [place(books, pod(f"p{i}", owner="rs", affinity=spec), nodes) for i in range(3)] == ["n1"] * 3


def test_explanation_groups_nodes_by_reason() -> None:
    text = fit.explain({"n1": "cordoned", "n2": "not ready: x", "n3": "cordoned"})
    assert text == "0/3 nodes are available: n1, n3: cordoned; n2: not ready: x"
    assert "no nodes" in fit.explain({})
    many = fit.explain({f"n{i:03}": "is full" for i in range(100)})
    assert "and 95 more" in many
    assert len(many) < 200


@given(st.integers(1, 6), st.lists(st.integers(0, 3), max_size=40))
def test_each_group_differs_by_at_most_one_between_nodes(count: int, owners: list[int]) -> None:
    nodes = [node_object(f"n{i}") for i in range(count)]
    books = Placements()
    for i, owner in enumerate(owners):
        assert place(books, pod(f"p{i}", owner=f"rs{owner}"), nodes)
    for owner in set(owners):
        counts = [books.load(n["metadata"]["name"]).groups[f"rs{owner}"] for n in nodes]
        assert max(counts) - min(counts) <= 1


@given(
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["assume", "bind", "delete", "finish"]), st.integers(0, 2)))
)
def test_books_equal_a_recount(steps: list[tuple[int, str, int]]) -> None:
    books, truth = Placements(), {}
    for number, action, node in steps:
        subject = pod(f"p{number}", owner="rs", containers=[{"name": "c", "resources": {"requests": {"cpu": "100m"}}}])
        if action == "assume":
            books.assume(subject, f"n{node}")
            truth[number] = node
        elif action == "bind":
            subject["spec"]["nodeName"] = f"n{node}"
            books.note(None, subject)
            truth[number] = node
        else:
            if action == "finish":
                books.note(None, subject | {"status": {"phase": "Succeeded"}})
            else:
                books.note(subject, None)
            truth.pop(number, None)
    for node in range(3):
        load, here = books.load(f"n{node}"), [p for p, n in truth.items() if n == node]
        assert len(load.pods) == load.groups["rs"] == len(here)
        assert load.requests["cpu"] == 100 * len(here)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1000), ("250m", 250), ("1.5", 1500), ("1Ki", 1024000), ("2M", 2 * 10**9), ("1e3", 10**6), ("1u", 1),
     ("junk", 0), (None, 0), (2, 2000), ("", 0), ("5E", 5 * 10**21), ("3Ei", 3 * 2**60 * 1000)],
)  # fmt: skip
def test_quantities(text: str | int | None, value: int) -> None:
    assert milli(text) == value


# -- pod affinity


def term(key: str = "kubernetes.io/hostname", **labels: str) -> Object:
    return {"labelSelector": {"matchLabels": labels}, "topologyKey": key}


def wants(name: str, labels: dict[str, str], *, near: Object | None = None, away: Object | None = None) -> Object:
    required: Object = {}
    for kind, wish in (("podAffinity", near), ("podAntiAffinity", away)):
        if wish is not None:
            required[kind] = {"requiredDuringSchedulingIgnoredDuringExecution": [wish]}
    made = pod(name, affinity=required)
    made["metadata"]["labels"] = labels
    return made


ZONE = "topology.kubernetes.io/zone"
NODES = {f"n{i}": node_object(f"n{i}", labels={ZONE: "east" if i < 2 else "west"}) for i in range(3)}
ECHO = Neighbour(wants("echo", {"app": "echo"}), "n1")


@pytest.mark.parametrize(
    ("subject", "neighbours", "suits"),
    [
        (wants("p", {}), [ECHO], "n0 n1 n2"),
        (wants("p", {}, near=term(app="echo")), [ECHO], "n1"),
        (wants("p", {}, near=term(ZONE, app="echo")), [ECHO], "n0 n1"),
        (wants("p", {}, near=term(app="nobody")), [ECHO], ""),
        (wants("p", {"app": "first"}, near=term(app="first")), [ECHO], "n0 n1 n2"),
        (wants("p", {}, near=term("no-such-label", app="echo")), [ECHO], ""),
        (wants("p", {}, away=term(app="echo")), [ECHO], "n0 n2"),
        (wants("p", {}, away=term(ZONE, app="echo")), [ECHO], "n2"),
        (wants("p", {}, away=term(app="echo") | {"namespaces": ["elsewhere"]}), [ECHO], "n0 n1 n2"),
        (wants("p", {}, away=term(app="echo") | {"namespaceSelector": {}}), [ECHO], "n0 n2"),
        (wants("p", {"app": "x"}), [Neighbour(wants("shy", {}, away=term(app="x")), "n2")], "n0 n1"),
        (wants("p", {"app": "y"}), [Neighbour(wants("shy", {}, away=term(app="x")), "n2")], "n0 n1 n2"),
        (wants("p", {}, near=term(app="echo"), away=term(app="echo")), [ECHO], ""),
    ],
)
def test_pod_affinity(subject: Object, neighbours: list[Neighbour], suits: str) -> None:
    refusal = rule(subject, neighbours, NODES)
    assert [name for name, node in NODES.items() if not refusal(node)] == suits.split()
