"""What a Job wants next: how many pods, which to remove, whether it is over, and what its status says. Pure."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from glasshive.kube.objects import Object, is_terminating, uid_of
from glasshive.operator.clock import now_text
from glasshive.operator.conditions import with_condition
from glasshive.operator.pods import condition, from_template, is_active, is_finished, is_ready, phase, removal_order

INDEX = "batch.kubernetes.io/job-completion-index"
LONGEST_RETRY_SECONDS = 360.0


@dataclass
class Ledger:
    """Finished pods of one job that were seen, also those that have been deleted since; ``base`` is older history."""

    succeeded: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    indexes: set[int] = field(default_factory=set)
    base_succeeded: int = 0
    base_failed: int = 0

    def note(self, pod: Object) -> None:
        """Take a finished pod down."""
        if phase(pod) == "Succeeded":
            self.succeeded.add(uid_of(pod))
            if index_of(pod) is not None:
                self.indexes.add(index_of(pod) or 0)
        elif phase(pod) == "Failed":
            self.failed.add(uid_of(pod))

    @property
    def successes(self) -> int:
        """Pods that succeeded."""
        return self.base_succeeded + len(self.succeeded)

    @property
    def failures(self) -> int:
        """Pods that failed."""
        return self.base_failed + len(self.failed)


@dataclass(frozen=True)
class Plan:
    """What to do for a job: pods to make (completion indexes, None for a job without), pods to remove, its end."""

    create: list[int | None] = field(default_factory=list)
    remove: list[Object] = field(default_factory=list)
    end: tuple[str, str, str] | None = None
    """(condition type, reason, message) once the job is over."""


def index_of(pod: Object) -> int | None:
    """Return the completion index of an indexed job's pod."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdigit() else None


def finished_condition(job: Object) -> Object | None:
    """Return the condition that says that the job is over."""
    for kind in ("Complete", "Failed"):
        entry = condition(job, kind)
        if entry is not None and entry.get("status") == "True":
            return entry
    return None


def restarts_of(pods: list[Object]) -> int:
    """Return the restarts of containers in pods that are still going (they count as failures)."""
    statuses = [s for p in pods if is_active(p) for s in (p.get("status") or {}).get("containerStatuses") or ()]
    return sum(int(s.get("restartCount") or 0) for s in statuses)


def plan(job: Object, pods: list[Object], ledger: Ledger, now_started: float) -> Plan:
    """Compare what the job wants with its pods. Pure; ``now_started`` is the job's age in seconds."""
    spec = job["spec"]
    active = [p for p in pods if is_active(p)]
    limit = 6 if spec.get("backoffLimit") is None else int(spec["backoffLimit"])
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and now_started >= int(deadline):
        return Plan([], active, ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline"))
    failures = ledger.failures
    if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
        failures += restarts_of(pods)
    if failures > limit:
        return Plan([], active, ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"))
    parallelism = int(spec.get("parallelism", 1))
    completions = spec.get("completions")
    if spec.get("suspend"):
        return Plan([], active)
    if spec.get("completionMode") == "Indexed":
        return _plan_indexed(active, ledger, parallelism, int(completions or 0))
    # Without completions the first success says that the work queue is empty: no more pods, wait for the others.
    if completions is None:
        missing = 0 if ledger.successes else parallelism - len(active)
        done = bool(ledger.successes) and not active
    else:
        missing = min(parallelism, int(completions) - ledger.successes) - len(active)
        done = ledger.successes >= int(completions)
    if done:
        return Plan([], active, ("Complete", "CompletionsReached", "Reached expected number of succeeded pods"))
    if missing < 0:
        return Plan([], removal_order(active)[:-missing])
    return Plan([None] * missing)


def _plan_indexed(active: list[Object], ledger: Ledger, parallelism: int, completions: int) -> Plan:
    if len(ledger.indexes) >= completions:
        return Plan([], active, ("Complete", "CompletionsReached", "Reached expected number of succeeded pods"))
    running = {index_of(p) for p in active}
    open_indexes = [i for i in range(completions) if i not in ledger.indexes and i not in running]
    room = parallelism - len(active)
    return Plan(list(open_indexes[:room])) if room >= 0 else Plan([], removal_order(active)[:-room])


def retry_wait(first: float, failures: int, last_failure_age: float) -> float:
    """Return the seconds to wait before another pod is made after ``failures`` failed ones."""
    if not failures:
        return 0.0
    return max(0.0, min(LONGEST_RETRY_SECONDS, first * 2.0 ** (failures - 1)) - last_failure_age)


def pod_for(job: Object, index: int | None) -> Object:
    """Return a pod of the job."""
    pod = from_template(job, "batch/v1", "Job", job["spec"]["template"])
    name, uid = job["metadata"]["name"], uid_of(job)
    pod["metadata"]["labels"] |= {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    if index is not None:
        pod["metadata"].setdefault("annotations", {})[INDEX] = str(index)
        pod["metadata"]["labels"][INDEX] = str(index)
        pod["spec"].setdefault("hostname", f"{name}-{index}")
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]):
            container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
    return pod


def status_of(job: Object, pods: list[Object], ledger: Ledger, end: tuple[str, str, str] | None) -> dict[str, Any]:
    """Return the job's status. Pure but for the clock."""
    before: dict[str, Any] = job.get("status") or {}
    active = [p for p in pods if is_active(p)] if end is None else []
    status: dict[str, Any] = {"startTime": before.get("startTime") or now_text(), "ready": sum(map(is_ready, active))}
    counts = {
        "active": len(active),
        "succeeded": ledger.successes,
        "failed": ledger.failures,
        "terminating": sum(is_terminating(p) and not is_finished(p) for p in pods),
    }
    status |= {name: count for name, count in counts.items() if count}
    if job["spec"].get("completionMode") == "Indexed" and ledger.indexes:
        status["completedIndexes"] = ranges(ledger.indexes)
    conditions = before.get("conditions") or []
    if job["spec"].get("suspend"):
        conditions = with_condition(conditions, "Suspended", "True", "JobSuspended", "Job suspended")
        del status["startTime"]
    elif any(c["type"] == "Suspended" for c in conditions):
        conditions = with_condition(conditions, "Suspended", "False", "JobResumed", "Job resumed")
    if end is not None:
        kind, reason, message = end
        conditions = with_condition(conditions, kind, "True", reason, message)
        if kind == "Complete":
            status["completionTime"] = before.get("completionTime") or now_text()
    if conditions:
        status["conditions"] = conditions
    return status


def ranges(indexes: set[int]) -> str:
    """Return numbers as Kubernetes writes completed indexes: "0-3,5"."""
    parts: list[list[int]] = []
    for index in sorted(indexes):
        if parts and parts[-1][-1] == index - 1:
            parts[-1] = [parts[-1][0], index]
        else:
            parts.append([index])
    return ",".join("-".join(map(str, part)) for part in parts)


def parse_ranges(text: str) -> set[int]:
    """Return the numbers that ``ranges`` wrote."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        with contextlib.suppress(ValueError):
            found.update(range(int(first), int(last or first) + 1))
    return found
