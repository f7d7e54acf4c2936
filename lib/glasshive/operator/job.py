"""Job: pods that run to their end, as many at once and in total as asked for (computed in ``job_plan``)."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from glasshive.api.resources import JOB, POD
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, controller_of, is_terminating, uid_of
from glasshive.operator.children import all_of, slow_start
from glasshive.operator.clock import seconds_since
from glasshive.operator.controller import Context, Controller
from glasshive.operator.job_plan import Ledger, finished_condition, parse_ranges, plan, pod_for, retry_wait, status_of
from glasshive.operator.pods import is_finished

COMPONENT = "job-controller"


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
