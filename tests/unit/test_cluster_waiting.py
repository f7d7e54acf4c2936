"""Waiting: conditions, watching until they hold, what the error says when they do not."""

import pytest

from glasshive.api.resources import POD
from glasshive.cluster import views, waiting
from glasshive.errors import ApiError, DeadlineError, UsageError


def pod(name, *, ready=False, phase="Pending", **status):
    state = {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}], **status}
    return {"metadata": {"name": name, "namespace": "default"}, "status": state}


class FakeApi:
    """Answers lists and watches from a script."""

    def __init__(self, lists, watches=()):
        self.lists, self.watches = list(lists), list(watches)

    def list(self, resource, namespace, *, selector=""):
        answer = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(answer, Exception):
            raise answer
        return answer, "1"

    def watch(self, resource, namespace, version, *, selector, timeout):
        for event in self.watches.pop(0) if self.watches else ():
            if isinstance(event, Exception):
                raise event
            yield event


def wait(api, condition="Ready", name="", timeout=0.3, count=1):
    return waiting.wait(
        api, POD, name=name, namespace="default", selector="", condition=condition, timeout=timeout, count=count
    )


def test_listed_objects_may_do():
    assert len(wait(FakeApi([[pod("a", ready=True)]]))) == 1


def test_watch_brings_what_is_missing():
    api = FakeApi([[pod("a")]], [[("MODIFIED", pod("a", ready=True))]])
    assert wait(api)[0]["metadata"]["name"] == "a"


def test_all_must_hold_and_count_is_a_minimum():
    api = FakeApi([[pod("a", ready=True)]], [[("ADDED", pod("b")), ("MODIFIED", pod("b", ready=True))]])
    assert len(wait(api, count=2)) == 2


def test_deleted():
    api = FakeApi([[pod("a")]], [[("DELETED", pod("a"))]])
    assert wait(api, "deleted", name="a") == []


def test_expired_watch_and_absent_server_are_survived():
    api = FakeApi([ApiError(503, "", "away"), [pod("a")], [pod("a", ready=True)]], [[ApiError(410, "Gone", "too old")]])
    assert wait(api, timeout=5)


def test_deadline_says_what_was_seen_last():
    waiting_state = {"waiting": {"reason": "ErrImagePull", "message": "no image nosuch:1"}}
    api = FakeApi([[pod("a", containerStatuses=[{"state": waiting_state}])]])
    with pytest.raises(DeadlineError, match=r"after 0.3 s pod a: 1 of 1 not Ready; a: ErrImagePull no image nosuch:1"):
        wait(api, name="a")
    with pytest.raises(DeadlineError, match="pod zz: not Ready: there is none"):
        wait(FakeApi([[]]), name="zz")


def test_conditions():
    assert waiting.predicate("phase=Running")(pod("a", phase="Running"))
    assert not waiting.predicate("Available")(pod("a"))
    assert waiting.predicate(lambda _: True)({})
    with pytest.raises(UsageError, match="condition 'ready' is unknown"):
        waiting.predicate("ready")


def test_short_views_of_objects():
    status = views.pod_status(pod("a", ready=True, phase="Running", podIPs=[{"ip": "10.244.0.2"}, {"ip": "fd00::2"}]))
    assert (status.state, status.ready, status.addresses) == ("Running", True, ("10.244.0.2", "fd00::2"))
    crashing = pod("a", containerStatuses=[{"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}])
    assert (views.pod_status(crashing).state, views.pod_status(crashing).restarts) == ("CrashLoopBackOff", 3)
    node = {"metadata": {"name": "node1"}, "spec": {"podCIDRs": ["10.244.0.0/24"]}, "status": {}}
    assert views.node_status(node, [status]).reason == "not reported yet"


@pytest.mark.parametrize(
    ("kind", "obj", "ready"),
    [
        ("Deployment", {"metadata": {"generation": 2}, "spec": {"replicas": 2},
                        "status": {"readyReplicas": 2, "observedGeneration": 2}}, True),
        ("Deployment", {"metadata": {"generation": 2}, "spec": {"replicas": 2},
                        "status": {"readyReplicas": 2, "observedGeneration": 1}}, False),
        ("Deployment", {"metadata": {}, "spec": {}, "status": {}}, False),
        ("DaemonSet", {"metadata": {}, "status": {"desiredNumberScheduled": 3, "numberReady": 3}}, True),
        ("DaemonSet", {"metadata": {}, "status": {}}, False),
        ("Pod", pod("a", phase="Succeeded"), True),
        ("Job", {"metadata": {}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}, True),
    ],
)  # fmt: skip
def test_workloads_are_ready(kind, obj, ready):
    assert views.WORKLOAD_READY[kind](obj) is ready
