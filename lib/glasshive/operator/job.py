"""Job: pods that run to their end, as many at once and in total as asked for, retried until the limit."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

from glasshive.api.resources import JOB, POD
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, controller_of, is_terminating, uid_of
from glasshive.operator.children import all_of, slow_start
from glasshive.operator.clock import now_text, seconds_since
from glasshive.operator.conditions import with_condition
from glasshive.operator.controller import Context, Controller
from glasshive.operator.pods import condition, from_template, is_active, is_finished, is_ready, phase, removal_order

COMPONENT = "job-controller"
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


class JobController(Controller):
    """Creates and deletes pods of Jobs, and Jobs whose time to live is over."""

    name: ClassVar[str] = "job"

    def __init__(self, context: Context) -> None:
        self._jobs = context.caches.of(JOB)
        self._pods = context.caches.of(POD)
        super().__init__(context, [self._jobs, self._pods])
        self._ledgers: dict[str, Ledger] = {}
        self._failed_at: dict[str, float] = {}
        self._jobs.on_event(self._on_job)
        self._pods.on_event(self._on_pod)

    def _on_job(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self._ledgers.pop(uid_of(old), None)
            self._failed_at.pop(uid_of(old), None)
        self.enqueue(kind, old, new)

    def _on_pod(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        ref = controller_of(pod)
        if ref is None or ref["kind"] != "Job":
            return
        ledger = self._ledgers.get(ref["uid"])
        if ledger is not None and is_finished(pod):
            failures = ledger.failures
            ledger.note(pod)
            if ledger.failures > failures:
                self._failed_at[ref["uid"]] = asyncio.get_running_loop().time()
        self.enqueue_owner("Job", old, new)

    def _ledger(self, job: Object, pods: list[Object]) -> Ledger:
        ledger = self._ledgers.get(uid_of(job))
        if ledger is None:
            ledger = self._ledgers[uid_of(job)] = Ledger()
            for pod in pods:
                ledger.note(pod)
            status = job.get("status") or {}
            ledger.base_succeeded = max(0, int(status.get("succeeded") or 0) - len(ledger.succeeded))
            ledger.base_failed = max(0, int(status.get("failed") or 0) - len(ledger.failed))
            ledger.indexes |= parse_ranges(status.get("completedIndexes") or "")
        return ledger

    async def reconcile(self, key: Key) -> float | None:
        """Take one job one step further."""
        job = self._jobs.get(key[1], key[0])
        if job is None or is_terminating(job):
            return None
        over = finished_condition(job)
        if over is not None:
            return await self._expire(job, over)
        pods = self._pods.controlled_by(job)
        ledger = self._ledger(job, pods)
        started = (job.get("status") or {}).get("startTime")
        todo = plan(job, pods, ledger, seconds_since(started))
        await all_of([self._pods.delete(pod) for pod in todo.remove])
        wait = 0.0
        failure: BaseException | None = None
        if todo.create:
            now = asyncio.get_running_loop().time()
            age = now - self._failed_at.get(uid_of(job), now)
            wait = retry_wait(self.context.config.job_retry_seconds, ledger.failures, age)
            if not wait:
                failure = await self._make(job, todo.create)
        pods = self._pods.controlled_by(job)
        await self._jobs.set_status(job, status_of(job, pods, ledger, todo.end))
        if todo.end is not None:
            kind, reason, message = todo.end
            say = self.context.events.normal if kind == "Complete" else self.context.events.warning
            say(job, "Completed" if kind == "Complete" else reason, message, COMPONENT)
        if isinstance(failure, Exception):
            raise failure
        return wait or self._deadline(job)

    async def _make(self, job: Object, indexes: list[int | None]) -> BaseException | None:
        todo = iter(indexes)

        async def create() -> None:
            pod = await self._pods.create(pod_for(job, next(todo)))
            message = f"Created pod: {pod['metadata']['name']}"
            self.context.events.normal(job, "SuccessfulCreate", message, COMPONENT)

        failure = await slow_start(len(indexes), create)
        if failure is not None:
            self.context.events.warning(job, "FailedCreate", f"Error creating: {failure}", COMPONENT)
        return failure

    def _deadline(self, job: Object) -> float | None:
        seconds = job["spec"].get("activeDeadlineSeconds")
        started = (job.get("status") or {}).get("startTime")
        return max(0.1, int(seconds) - seconds_since(started)) if seconds is not None else None

    async def _expire(self, job: Object, over: Object) -> float | None:
        keep = job["spec"].get("ttlSecondsAfterFinished")
        if keep is None:
            return None
        left = int(keep) - seconds_since(over.get("lastTransitionTime"))
        if left > 0:
            return left
        await self._jobs.delete(job)
        return None


def parse_ranges(text: str) -> set[int]:
    """Return the numbers that ``ranges`` wrote."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        with contextlib.suppress(ValueError):
            found.update(range(int(first), int(last or first) + 1))
    return found
