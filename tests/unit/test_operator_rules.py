"""Pure rules of the other controllers: DaemonSet plans, Job plans, ownership, removal order, events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane import node_object
from glasshive.api.selectors import of_label_selector
from glasshive.errors import ApiError
from glasshive.kube.objects import Object
from glasshive.operator import daemon_set
from glasshive.operator import job_plan as job
from glasshive.operator.children import claims, slow_start
from glasshive.operator.conditions import with_condition
from glasshive.operator.events import Note, event_of
from glasshive.operator.expiry import expired
from glasshive.operator.job_plan import Ledger
from glasshive.operator.ownership import blocking, judge
from glasshive.operator.pods import removal_order, seconds_until_available

READY = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
}


def pod(name: str, node: str = "", status: Object | None = None, **metadata: Any) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": "d",
            "uid": name,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **metadata,
        },
        "spec": {"nodeName": node} if node else {},
        "status": status or {},
    }


# -- DaemonSet


def daemon(**spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "a"}]}}
    return {"metadata": {"name": "d", "namespace": "d", "uid": "ds"}, "spec": {"template": template, **spec}}


def daemon_pod(owner: Object, node: str, **more: Any) -> Object:
    made = daemon_set.pod_for(owner, node)
    made["metadata"] |= {"uid": f"pod-{node}", **more}
    made["status"] = READY
    return made


def test_daemons_run_on_every_suitable_node_even_cordoned_and_not_ready() -> None:
    nodes = [node_object("n1"), node_object("n2", unschedulable=True), node_object("n3", ready=False)]
    nodes.append(node_object("n4", taints=[{"key": "x", "effect": "NoSchedule"}]))
    assert daemon_set.plan(daemon(), nodes, []).create_on == ["n1", "n2", "n3"]
    selected = daemon()
    selected["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    nodes.append(node_object("n5", labels={"disk": "ssd"}))
    assert daemon_set.plan(selected, nodes, []).create_on == ["n5"]


def test_daemons_leave_nodes_that_no_longer_suit_and_are_one_per_node() -> None:
    owner, nodes = daemon(), [node_object("n1"), node_object("n2")]
    twice = daemon_pod(owner, "n1", uid="second", creationTimestamp="2026-02-01T00:00:00Z")
    lost = daemon_pod(owner, "gone")
    failed = daemon_pod(owner, "n2") | {"status": {"phase": "Failed"}}
    plan = daemon_set.plan(owner, nodes, [daemon_pod(owner, "n1"), twice, lost, failed])
    assert {p["metadata"]["uid"] for p in plan.remove} == {"second", "pod-gone", "pod-n2"}
    assert plan.create_on == ["n2"]


def test_a_daemon_that_is_still_going_keeps_its_node() -> None:
    owner = daemon()
    going = daemon_pod(owner, "n1", deletionTimestamp="2026-01-01T00:00:00Z")
    assert daemon_set.plan(owner, [node_object("n1")], [going]).create_on == []


@pytest.mark.parametrize(("unavailable", "down"), [(1, 1), (3, 3), ("50%", 5), ("1%", 1)])
def test_rolling_update_of_daemons(unavailable: int | str, down: int) -> None:
    owner = daemon(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable}})
    nodes = [node_object(f"n{i}") for i in range(10)]
    pods = [daemon_pod(owner, f"n{i}") for i in range(10)]
    owner["spec"]["template"]["spec"]["containers"][0]["image"] = "b"
    assert len(daemon_set.plan(owner, nodes, pods).remove) == down
    owner["spec"]["updateStrategy"] = {"type": "OnDelete"}
    assert not daemon_set.plan(owner, nodes, pods).remove


def test_daemon_status() -> None:
    owner, nodes = daemon(), [node_object("n1"), node_object("n2")]
    owner["metadata"]["generation"] = 3
    status, wait = daemon_set.status_of(owner, nodes, [daemon_pod(owner, "n1"), daemon_pod(owner, "gone")])
    assert wait is None
    assert status == {
        "observedGeneration": 3, "desiredNumberScheduled": 2, "currentNumberScheduled": 1, "numberMisscheduled": 1,
        "numberReady": 1, "updatedNumberScheduled": 1, "numberAvailable": 1, "numberUnavailable": 1,
    }  # fmt: skip


# -- Job


def a_job(**spec: Any) -> Object:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]}}
    return {"metadata": {"name": "j", "namespace": "d", "uid": "j"}, "spec": {"template": template, **spec}}


def play(wish: Object, outcomes: list[str], limit: int = 100) -> tuple[Object, int, int]:
    """Run a job whose pods end as ``outcomes`` say; return its status, pods made, and most at once."""
    ledger, pods, made, most = Ledger(), [], 0, 0
    for _ in range(limit):
        plan = job.plan(wish, pods, ledger, 0)
        pods = [p for p in pods if p not in plan.remove]
        for index in plan.create:
            new = job.pod_for(wish, index)
            new["metadata"]["uid"] = f"p{made}"
            new["status"] = {"phase": "Running"}
            pods.append(new)
            made += 1
        active = [p for p in pods if p["status"]["phase"] == "Running"]
        most = max(most, len(active))
        wish["status"] = job.status_of(wish, pods, ledger, plan.end)
        if plan.end:
            return wish["status"], made, most
        oldest = active[0]
        oldest["status"]["phase"] = outcomes.pop(0) if outcomes else "Succeeded"
        ledger.note(oldest)
    raise AssertionError("the job never ends")


def condition_types(status: Object) -> set[str]:
    return {c["type"] for c in status.get("conditions") or []}


@given(st.integers(1, 8), st.integers(1, 4), st.lists(st.sampled_from(["Succeeded", "Failed"]), max_size=6))
def test_jobs_complete_with_exactly_their_completions(completions: int, parallelism: int, outcomes: list[str]) -> None:
    failures = outcomes.count("Failed")
    wish = a_job(completions=completions, parallelism=parallelism, backoffLimit=10)
    status, made, most = play(wish, list(outcomes))
    assert condition_types(status) == {"Complete"}
    assert status["succeeded"] == completions
    assert made <= completions + failures
    assert most <= parallelism
    assert status["completionTime"]


def test_job_fails_after_its_backoff_limit() -> None:
    status, made, _ = play(a_job(completions=2, parallelism=1, backoffLimit=2), ["Failed"] * 5)
    assert condition_types(status) == {"Failed"}
    assert status["conditions"][0]["reason"] == "BackoffLimitExceeded"
    assert (status["failed"], made) == (3, 3)


def test_job_counts_restarts_of_on_failure_pods() -> None:
    wish = a_job(completions=1, parallelism=1, backoffLimit=2)
    wish["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    running = pod("p", status={"phase": "Running", "containerStatuses": [{"restartCount": 3}]})
    assert job.plan(wish, [running], Ledger(), 0).end == (
        "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit",
    )  # fmt: skip


def test_indexed_job_covers_every_index() -> None:
    wish = a_job(completions=5, parallelism=2, completionMode="Indexed", backoffLimit=9)
    status, made, most = play(wish, ["Failed", "Succeeded", "Failed"])
    assert status["completedIndexes"] == "0-4"
    assert (made, most) == (7, 2)


def test_job_without_completions_ends_with_its_first_success() -> None:
    status, made, _ = play(a_job(parallelism=3), [])
    assert condition_types(status) == {"Complete"}
    assert (status["succeeded"], made) == (3, 3)


def test_job_deadline_and_suspend() -> None:
    running = pod("p", status={"phase": "Running"})
    plan = job.plan(a_job(completions=1, activeDeadlineSeconds=5), [running], Ledger(), 6)
    assert plan.end is not None
    assert plan.end[1] == "DeadlineExceeded"
    assert plan.remove == [running]
    suspended = a_job(completions=1, suspend=True)
    assert job.plan(suspended, [running], Ledger(), 0).remove == [running]
    assert condition_types(job.status_of(suspended, [], Ledger(), None)) == {"Suspended"}


def test_retry_wait_doubles_to_its_limit() -> None:
    assert [job.retry_wait(10, n, 0) for n in (0, 1, 2, 3, 20)] == [0, 10, 20, 40, 360]
    assert job.retry_wait(10, 1, 12) == 0


@given(st.sets(st.integers(0, 50)))
def test_index_ranges_read_back(indexes: set[int]) -> None:
    assert job.parse_ranges(job.ranges(indexes)) == indexes


# -- ownership


def owned_by(*uids: str, **metadata: Any) -> Object:
    refs = [{"uid": uid, "kind": "X", "name": uid, "blockOwnerDeletion": True} for uid in uids]
    return {"metadata": {"name": "o", "uid": "o", "ownerReferences": refs, **metadata}}


@pytest.mark.parametrize(
    ("states", "has_dependents", "action"),
    [
        ({}, False, ("keep", set(), "Background")),
        ({"a": "solid"}, False, ("keep", set(), "Background")),
        ({"a": "absent"}, False, ("delete", set(), "Background")),
        ({"a": "absent"}, True, ("delete", set(), "Background")),
        ({"a": "waiting"}, True, ("delete", set(), "Foreground")),
        ({"a": "waiting"}, False, ("delete", set(), "Background")),
        ({"a": "solid", "b": "absent", "c": "waiting"}, False, ("unlink", {"b", "c"}, "Background")),
        ({"a": "absent", "b": "waiting"}, True, ("delete", set(), "Foreground")),
    ],
)
def test_ownership(states: dict[str, Any], has_dependents: bool, action: tuple[str, set[str], str]) -> None:
    verdict = judge(owned_by(*states), lambda ref: states[ref["uid"]], has_dependents=has_dependents)
    assert (verdict.action, set(verdict.uids), verdict.propagation) == action


def test_what_is_going_already_is_left_alone() -> None:
    going = owned_by("a", deletionTimestamp="x")
    assert judge(going, lambda _: "absent", has_dependents=True).action == "keep"


def test_only_blocking_references_block() -> None:
    owner, blocker, other = {"metadata": {"uid": "a"}}, owned_by("a"), owned_by("a")
    other["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = False
    assert blocking(owner, [blocker, other]) == [blocker]


# -- children


def test_claims() -> None:
    selector = of_label_selector({"matchLabels": {"app": "x"}})
    fits, strays = pod("fits", labels={"app": "x"}), pod("strays", labels={"app": "y"})
    going = pod("going", labels={"app": "y"}, deletionTimestamp="x")
    orphan, other = pod("orphan", labels={"app": "x"}), pod("other", labels={"app": "z"})
    found = claims({"metadata": {"uid": "o"}}, selector, [fits, strays, going], [orphan, other])
    assert (found.owned, found.release, found.adopt) == ([fits, going], [strays], [orphan])
    dying = {"metadata": {"uid": "o", "deletionTimestamp": "x"}}
    assert claims(dying, selector, [], [orphan]).adopt == []


@pytest.mark.parametrize(("fail_from", "calls"), [(0, 1), (1, 5), (1000, 50)])
def test_what_is_refused_once_is_not_tried_fifty_times(fail_from: int, calls: int) -> None:
    tried = 0

    async def make() -> None:
        nonlocal tried
        tried += 1
        if tried > fail_from:
            raise ApiError(422, "Invalid", "no such image")

    failure = asyncio.run(slow_start(50, make))
    assert tried == calls
    assert (failure is None) == (fail_from == 1000)


def test_removal_order() -> None:
    cheap = pod("cheap", "n1", READY, annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"})
    crowded = [pod(f"crowded{i}", "n2", READY, creationTimestamp=f"2026-01-0{i}T00:00:00Z") for i in (1, 2)]
    alone = pod("alone", "n3", READY)
    unready, unbound = pod("unready", "n3", {"phase": "Running"}), pod("unbound")
    order = [p["metadata"]["name"] for p in removal_order([alone, *crowded, cheap, unready, unbound])]
    assert order[:3] == ["unbound", "unready", "cheap"]
    assert order.index("crowded2") < order.index("crowded1")


def test_availability_waits_for_min_ready_seconds() -> None:
    from datetime import UTC, datetime

    at = datetime(2026, 1, 1, 0, 0, 4, tzinfo=UTC)
    assert seconds_until_available(pod("p", status=READY), 10, at) == 6
    assert seconds_until_available(pod("p", status=READY), 3, at) == 0
    assert seconds_until_available(pod("p"), 0, at) is None


def test_conditions_keep_their_time_of_change() -> None:
    first = with_condition([], "Ready", "True", "A", "a")
    first[0]["lastTransitionTime"] = "then"
    assert with_condition(first, "Ready", "True", "B", "b")[0]["lastTransitionTime"] == "then"
    assert with_condition(first, "Ready", "False", "A", "a")[0]["lastTransitionTime"] != "then"
    assert with_condition(first, "Ready", "True", "A", "a") == first
    assert len(with_condition(first, "Other", "True", "A", "a")) == 2


def test_event_about_a_node_lives_in_default() -> None:
    node = node_object("n1") | {"metadata": {"name": "n1", "uid": "u"}}
    event = event_of(Note(node, "Warning", "Why", "because", "me"), "n1.x")
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"]["name"] == "n1"
    assert event["count"] == 1


def test_events_expire_by_the_time_they_were_last_seen() -> None:
    from datetime import UTC, datetime

    def event(name: str, **fields: Any) -> Object:
        return {"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}, **fields}

    events = [
        event("old"),
        event("old-too", lastTimestamp="2026-01-01T01:30:00Z"),
        event("repeated", lastTimestamp="2026-01-01T02:30:00Z"),
        event("series", eventTime="2026-01-01T00:00:00Z", series={"lastObservedTime": "2026-01-01T02:45:00.5Z"}),
    ]
    found = expired(events, datetime(2026, 1, 1, 3, tzinfo=UTC))
    assert [e["metadata"]["name"] for e in found] == ["old", "old-too"]
