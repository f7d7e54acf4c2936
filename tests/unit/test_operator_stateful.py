"""StatefulSets computed without a server: a small world plays kubelets, and every step keeps the promises."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshive.kube.objects import Object
from glasshive.operator import revisions, stateful_plan
from glasshive.operator.stateful_plan import ordinal_of, plan, revision_of


def stateful_set(replicas: int = 3, **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "a"}]}}
    selector = {"matchLabels": {"app": "db"}}
    full = {"replicas": replicas, "serviceName": "db", "selector": selector, "template": template, **spec}
    meta = {"name": "db", "namespace": "default", "uid": "u", "generation": 1}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": full}


def pod(wish: Object, number: int, revision: str = "db-1", *, ready: bool = True) -> Object:
    made = stateful_plan.pod_for(wish, wish["spec"]["template"], number, revision)
    made["status"] = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    return made


class World:
    """Pods by name; at most one of each name, as the API server has it."""

    def __init__(self, wish: Object) -> None:
        self.wish = wish
        self.pods: dict[str, Object] = {}
        self.status: Object = {}
        self.update = "db-1"
        self.log: list[str] = []

    def step(self) -> bool:
        wish = {**self.wish, "status": self.status}
        current = self.status.get("currentRevision") or self.update
        before = list(self.pods.values())
        todo = plan(wish, before, current, self.update)
        for gone in todo.remove:
            assert not gone["metadata"].get("deletionTimestamp")
            gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self.log.append(f"-{ordinal_of(wish, gone)}")
        for number, revision in todo.create:
            made = pod(wish, number, revision, ready=False)
            assert made["metadata"]["name"] not in self.pods
            self.pods[made["metadata"]["name"]] = made
            self.log.append(f"+{number}")
        self.status = stateful_plan.status_of(wish, list(self.pods.values()), self.update)
        return bool(todo.remove or todo.create)

    def kubelet(self) -> bool:
        """Finish one thing: a pod that terminates goes, or a pod becomes ready."""
        for name, one in self.pods.items():
            if one["metadata"].get("deletionTimestamp"):
                del self.pods[name]
                return True
        for one in self.pods.values():
            entry = one["status"]["conditions"][0]
            if entry["status"] != "True":
                entry["status"] = "True"
                return True
        return False

    def run(self) -> None:
        for _ in range(500):
            moved = self.step()
            if not self.kubelet() and not moved:
                return
        raise AssertionError(f"no end: {self.log}")


def test_ordered_life() -> None:
    world = World(stateful_set(3))
    world.run()
    assert world.log == ["+0", "+1", "+2"]
    world.log.clear()
    world.wish["spec"]["replicas"] = 1
    world.run()
    assert world.log == ["-2", "-1"]
    world.wish["spec"]["replicas"] = 3
    world.run()
    world.log.clear()
    world.update = "db-2"
    world.run()
    assert world.log == ["-2", "+2", "-1", "+1", "-0", "+0"]
    assert world.status["currentRevision"] == world.status["updateRevision"] == "db-2"
    assert world.status["updatedReplicas"] == world.status["readyReplicas"] == 3


def test_parallel_starts_and_stops_at_once() -> None:
    wish = stateful_set(3, podManagementPolicy="Parallel")
    assert [n for n, _ in plan(wish, [], "a", "a").create] == [0, 1, 2]
    wish["spec"]["replicas"] = 1
    doomed = plan(wish, [pod(wish, n, "a") for n in range(3)], "a", "a").remove
    assert [ordinal_of(wish, p) for p in doomed] == [2, 1]


def test_partition_keeps_lower_ordinals_back() -> None:
    wish = stateful_set(4, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    world = World(wish)
    world.run()
    world.update = "db-2"
    world.run()
    assert [revision_of(world.pods[f"db-{n}"]) for n in range(4)] == ["db-1", "db-1", "db-2", "db-2"]
    del world.pods["db-0"]
    world.run()
    assert revision_of(world.pods["db-0"]) == "db-1"
    assert world.status["currentRevision"] == "db-1"


def test_on_delete_waits_for_people() -> None:
    world = World(stateful_set(2, updateStrategy={"type": "OnDelete"}))
    world.run()
    world.update = "db-2"
    world.log.clear()
    world.run()
    assert world.log == []
    del world.pods["db-1"]
    world.run()
    assert revision_of(world.pods["db-1"]) == "db-2"
    assert revision_of(world.pods["db-0"]) == "db-1"


@pytest.mark.parametrize(
    ("name", "ordinal"),
    [("db-0", 0), ("db-10", 10), ("db-01", None), ("db-x", None), ("other-1", None), ("db", None), ("db-1-1", None)],
)
def test_ordinals_by_name(name: str, ordinal: int | None) -> None:
    assert ordinal_of(stateful_set(), {"metadata": {"name": name}}) == ordinal


def test_names_labels_and_claims() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    wish = stateful_set(2, volumeClaimTemplates=[claim], ordinals={"start": 5})
    assert list(stateful_plan.ordinals(wish)) == [5, 6]
    made = stateful_plan.pod_for(wish, wish["spec"]["template"], 5, "db-1")
    assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("db-5", "db")
    assert made["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "5"
    assert made["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-5"}}]
    (stored,) = stateful_plan.claims_for(wish, made)
    assert stored["metadata"]["name"] == "data-db-5"
    assert stored["kind"] == "PersistentVolumeClaim"


def test_a_broken_pod_holds_the_order_up() -> None:
    wish = stateful_set(3)
    stuck = plan(wish, [pod(wish, 0, "a", ready=False)], "a", "a")
    assert not stuck.create
    assert not stuck.remove
    finished = pod(wish, 0, "a")
    finished["status"]["phase"] = "Failed"
    assert plan(wish, [finished], "a", "a").remove == [finished]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(0, 12), st.booleans()), min_size=1, max_size=5
    ),
    st.booleans(),
    st.integers(0, 3),
)
def test_any_history_ends_as_wished(wishes: list[tuple[int, int, int, bool]], parallel: bool, start: int) -> None:
    policy = "Parallel" if parallel else "OrderedReady"
    world = World(stateful_set(0, podManagementPolicy=policy, ordinals={"start": start}))
    for replicas, revision, steps, crash in wishes:
        world.wish["spec"]["replicas"], world.update = replicas, f"db-{revision}"
        for _ in range(steps):
            world.step()
            if not parallel:
                waiting = [p for p in world.pods.values() if p["status"]["conditions"][0]["status"] != "True"]
                assert len(waiting) <= 1
            world.kubelet()
        if crash and world.pods:
            world.pods.pop(min(world.pods))
    world.run()
    names = {f"db-{n}" for n in range(start, start + replicas)}
    assert set(world.pods) == names
    assert all(revision_of(p) == world.update for p in world.pods.values())


# -- revisions


def test_history_of_templates() -> None:
    owner = stateful_set()
    first = revisions.history(owner, "StatefulSet", [], [])
    assert first.create
    assert first.current["revision"] == 1
    assert revisions.template_of(first.current) == owner["spec"]["template"]
    assert first.current["data"]["spec"]["template"]["$patch"] == "replace"
    changed = copy.deepcopy(owner)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "b"
    second = revisions.history(changed, "StatefulSet", [first.current], [])
    assert second.create
    assert second.current["revision"] == 2
    both = [first.current, second.current]
    still = revisions.history(changed, "StatefulSet", both, [])
    assert (still.create, still.renumber) == (False, False)
    back = revisions.history(owner, "StatefulSet", both, [])
    assert (back.create, back.renumber) == (False, True)
    assert back.current["revision"] == 3
    assert back.current["metadata"]["name"] == first.current["metadata"]["name"]


def test_old_revisions_go_but_not_those_that_pods_have() -> None:
    owner, known = stateful_set(revisionHistoryLimit=1), []
    for image in "abcde":
        owner["spec"]["template"]["spec"]["containers"][0]["image"] = image
        known.append(copy.deepcopy(revisions.history(owner, "StatefulSet", known, []).current))
    used = {known[0]["metadata"]["labels"][revisions.HASH_LABEL]}
    expired = revisions.history(owner, "StatefulSet", known, used).expired
    assert [r["revision"] for r in expired] == [2, 3]
