"""Rollouts computed without a server: a small world plays the ReplicaSet controller and the kubelets."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshive.kube.objects import Object
from glasshive.operator import proportion, rollout
from glasshive.operator.rollout import Limits, limits_of


def deployment(replicas: int = 4, image: str = "a", **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "u", "generation": 1, "annotations": {"note": "x"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
    }


def rolling(surge: int | str, unavailable: int | str) -> Object:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


@pytest.mark.parametrize(
    ("replicas", "strategy", "limits"),
    [
        (10, {}, Limits(10, 3, 2)),
        (1, {}, Limits(1, 1, 0)),
        (4, rolling(0, 0), Limits(4, 0, 1)),
        (4, rolling("50%", "100%"), Limits(4, 2, 4)),
        (4, rolling(1, 9), Limits(4, 1, 4)),
        (4, {"type": "Recreate"}, Limits(4, 0, 4)),
        (0, rolling(0, 0), Limits(0, 0, 0)),
    ],
)
def test_limits(replicas: int, strategy: Object, limits: Limits) -> None:
    assert limits_of(deployment(replicas, strategy=strategy)) == limits


class World:
    """ReplicaSets with pods that exist and pods that are available; every step is checked against the limits."""

    def __init__(self, wish: Object) -> None:
        self.wish = wish
        self.sets: list[Object] = []
        self.revision = 0

    def step(self) -> bool:
        """One round of the Deployment controller."""
        shared = proportion.scaled(self.wish, self.sets)
        if shared is not None:
            limits = limits_of(self.wish)
            for replica_set in self.sets:
                name = replica_set["metadata"]["name"]
                if name in shared:
                    replica_set["spec"]["replicas"] = shared[name]
                    noted = {rollout.DESIRED: str(limits.replicas), rollout.MAXIMUM: str(limits.most)}
                    replica_set["metadata"]["annotations"] |= noted
            return True
        current = rollout.current_of(self.wish, self.sets)
        old = [s for s in self.sets if s is not current]
        sizes = rollout.next_sizes(self.wish, current, old)
        if "" in sizes:
            self.revision += 1
            made = rollout.new_replica_set(self.wish, sizes.pop(""), self.revision)
            made["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:{self.revision:02}Z"
            made["metadata"]["uid"] = f"rs{self.revision}"
            made["status"] = {"replicas": 0, "availableReplicas": 0}
            self.sets.append(made)
            return True
        for replica_set in self.sets:
            if replica_set["metadata"]["name"] in sizes:
                replica_set["spec"]["replicas"] = sizes[replica_set["metadata"]["name"]]
        return bool(sizes)

    def settle(self, broken: str = "") -> bool:
        """Pods follow the sizes; one at a time becomes available (never those of image ``broken``)."""
        changed = False
        for replica_set in self.sets:
            size, status = replica_set["spec"]["replicas"], replica_set["status"]
            image = replica_set["spec"]["template"]["spec"]["containers"][0]["image"]
            if status["replicas"] != size:
                # Unavailable pods are removed first.
                status["availableReplicas"] = min(status["availableReplicas"], size)
                status["replicas"] = size
                changed = True
            elif status["availableReplicas"] < size and image != broken:
                status["availableReplicas"] += 1
                changed = True
        return changed

    def total(self, field: str) -> int:
        return sum(s["status"][field] for s in self.sets)

    def run(self, broken: str = "") -> list[tuple[int, int]]:
        """Run until nothing moves; return (pods, available) after each round."""
        history = []
        for _ in range(400):
            moved = self.step()
            moved = self.settle(broken) or moved
            history.append((self.total("replicas"), self.total("availableReplicas")))
            if not moved:
                return history
        raise AssertionError("the rollout never comes to rest")


def change_image(wish: Object, image: str) -> Object:
    changed = copy.deepcopy(wish)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return changed


strategies = st.one_of(
    st.builds(rolling, st.integers(0, 4), st.integers(0, 4)),
    st.builds(rolling, st.sampled_from(["0%", "25%", "100%"]), st.sampled_from(["0%", "25%", "100%"])),
    st.just({"type": "Recreate"}),
)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 9), strategies, st.integers(0, 9), st.integers(0, 12))
def test_any_rollout_ends_and_stays_within_limits(first: int, strategy: Object, second: int, interrupt: int) -> None:
    world = World(deployment(first, strategy=strategy))
    world.run()
    assert (world.total("replicas"), world.total("availableReplicas")) == (first, first)

    world.wish = change_image(world.wish, "b")
    limits = limits_of(world.wish)
    for _ in range(interrupt):
        world.step()
        world.settle()
        assert world.total("replicas") <= limits.most
        assert world.total("availableReplicas") >= limits.least or strategy["type"] == "Recreate"
    world.wish = change_image(world.wish, "c")  # changed its mind half-way
    world.wish["spec"]["replicas"] = second
    world.run()
    assert [s["status"]["replicas"] for s in world.sets if rollout.same_template(world.wish, s)] == [second]
    assert world.total("replicas") == world.total("availableReplicas") == second


def test_a_broken_image_stops_the_rollout_and_rolling_back_repairs_it() -> None:
    world = World(deployment(4, strategy=rolling(1, 1)))
    world.run()
    good = world.wish
    world.wish = change_image(good, "broken")
    history = world.run(broken="broken")
    assert all(available >= 3 for _, available in history)
    assert rollout.size_of(world.sets[1]) == 2
    world.wish = good
    world.run(broken="broken")
    assert [rollout.size_of(s) for s in world.sets] == [4, 0]


def test_recreate_never_runs_both() -> None:
    world = World(deployment(3, strategy={"type": "Recreate"}))
    world.run()
    world.wish = change_image(world.wish, "b")
    world.step()
    assert [rollout.size_of(s) for s in world.sets] == [0]
    assert not world.step()  # old pods are still there
    world.settle()
    world.step()
    assert [rollout.size_of(s) for s in world.sets] == [0, 3]


def test_paused_keeps_the_old_template_but_follows_the_size() -> None:
    world = World(deployment(3))
    world.run()
    world.wish = change_image(world.wish, "b")
    world.wish["spec"] |= {"paused": True, "replicas": 5}
    world.run()
    assert [rollout.size_of(s) for s in world.sets] == [5]


def test_replica_set_of_a_template() -> None:
    wish = deployment()
    made = rollout.new_replica_set(wish, 2, 7)
    short = made["metadata"]["labels"]["pod-template-hash"]
    assert made["metadata"]["name"] == f"web-{short}"
    assert made["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": short}
    assert made["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] == short
    assert made["metadata"]["annotations"][rollout.REVISION] == "7"
    assert made["metadata"]["annotations"]["note"] == "x"
    assert rollout.same_template(wish, made)
    assert not rollout.same_template(change_image(wish, "b"), made)
    wish["status"] = {"collisionCount": 1}
    assert rollout.new_replica_set(wish, 2, 7)["metadata"]["name"] != made["metadata"]["name"]


def test_history_is_cut_at_the_limit() -> None:
    wish = deployment(1, revisionHistoryLimit=2)
    world = World(wish)
    for image in "abcdef":
        world.wish = change_image(wish, image)
        world.run()
    current = rollout.current_of(world.wish, world.sets)
    old = [s for s in world.sets if s is not current]
    assert [rollout.revision_of(s) for s in rollout.outdated(world.wish, old)] == [1, 2, 3]


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_status_tells_what_kubectl_rollout_status_reads() -> None:
    world = World(deployment(4))
    world.step()
    wish = world.wish
    wish["status"], wait = rollout.status_of(wish, world.sets[0], [])
    assert conditions(wish["status"])["Available"] == ("False", "MinimumReplicasUnavailable")
    assert conditions(wish["status"])["Progressing"] == ("True", "ReplicaSetUpdated")
    assert wait == 600
    world.run()
    wish["status"], wait = rollout.status_of(wish, world.sets[0], [])
    assert conditions(wish["status"])["Available"] == ("True", "MinimumReplicasAvailable")
    assert conditions(wish["status"])["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert wait is None
    counts = {k: v for k, v in wish["status"].items() if k != "conditions"}
    names = ("replicas", "updatedReplicas", "availableReplicas")
    assert counts == {"observedGeneration": 1, **dict.fromkeys(names, 4)}


def test_no_progress_before_the_deadline_is_said() -> None:
    wish = deployment(1, progressDeadlineSeconds=5)
    made = rollout.new_replica_set(wish, 1, 1)
    wish["status"], wait = rollout.status_of(wish, made, [])
    assert wait == 5
    for entry in wish["status"]["conditions"]:
        entry["lastUpdateTime"] = "2020-01-01T00:00:00Z"
    status, wait = rollout.status_of(wish, made, [])
    assert conditions(status)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    assert wait is None
