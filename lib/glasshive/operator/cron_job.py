"""CronJob: jobs at the times of a schedule (computed in ``cron_plan``)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from glasshive.api.resources import CRON_JOB, JOB
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating
from glasshive.operator import cron_plan
from glasshive.operator.children import all_of
from glasshive.operator.controller import Context, Controller

COMPONENT = "cronjob-controller"
LONGEST_SLEEP_SECONDS = 600.0
"""A clock that is set, or a machine that slept, is noticed after at most this time."""


class CronJobController(Controller):
    """Makes the jobs of CronJobs and removes old ones."""

    name: ClassVar[str] = "cronjob"

    def __init__(self, context: Context) -> None:
        self._cron_jobs = context.caches.of(CRON_JOB)
        self._jobs = context.caches.of(JOB)
        super().__init__(context, [self._cron_jobs, self._jobs])
        self._told: dict[Key, set[str]] = {}
        self._cron_jobs.on_event(self._on_cron_job)
        self._jobs.on_event(self._on_job)

    def _on_cron_job(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        self.enqueue(kind, old, new)

    def _on_job(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        self.enqueue_owner("CronJob", old, new)

    async def reconcile(self, key: Key) -> float | None:
        """Do what one CronJob's schedule asks for now."""
        found = self._cron_jobs.get(key[1], key[0])
        if found is None:
            self._told.pop(key, None)
            return None
        jobs = self._jobs.controlled_by(found)
        todo = cron_plan.plan(found, jobs, datetime.now(UTC))
        self._tell(key, found, todo)
        await all_of([self._jobs.delete(job) for job in todo.expired])
        for job in todo.replace:
            await self._jobs.delete(job)
            self.context.events.normal(found, "SuccessfulDelete", f"Deleted job {job['metadata']['name']}", COMPONENT)
        if todo.make is not None:
            await self._make(found, todo.make)
        if not is_terminating(found):
            status = cron_plan.status_of(found, self._jobs.controlled_by(found), todo.make)
            await self._cron_jobs.set_status(found, status)
        return None if todo.wait is None else min(todo.wait, LONGEST_SLEEP_SECONDS)

    def _tell(self, key: Key, found: Object, todo: cron_plan.Plan) -> None:
        """Post notes once, not at every look."""
        known = self._told.get(key, set())
        for kind, reason, message in todo.notes:
            if message not in known:
                say = self.context.events.warning if kind == "Warning" else self.context.events.normal
                say(found, reason, message, COMPONENT)
        self._told[key] = {message for _, _, message in todo.notes}

    async def _make(self, found: Object, due: datetime) -> None:
        job = cron_plan.job_for(found, due)
        try:
            await self._jobs.create(job)
        except ApiError as error:
            if error.reason != "AlreadyExists":  # made before a restart, and the cache does not know it yet
                self.context.events.warning(found, "FailedCreate", f"Error creating job: {error}", COMPONENT)
                raise
        else:
            self.context.events.normal(found, "SuccessfulCreate", f"Created job {job['metadata']['name']}", COMPONENT)
