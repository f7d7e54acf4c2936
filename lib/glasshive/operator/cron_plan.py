"""What a CronJob wants now: a job to make, jobs to remove, its status, when to look again. Pure; see ``cron_job``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from glasshive.api.cron import Schedule, parse
from glasshive.api.resources import JOB
from glasshive.errors import UsageError
from glasshive.kube.objects import Object, is_terminating, owner_reference, uid_of
from glasshive.operator.job_plan import finished_condition

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MANY_MISSED = 100


@dataclass
class Plan:
    """What to do. ``notes`` are (event type, reason, message)."""

    make: datetime | None = None
    """The time that a job is to be made for."""
    replace: list[Object] = field(default_factory=list)
    """Running jobs that must go first."""
    expired: list[Object] = field(default_factory=list)
    """Finished jobs beyond the history limits."""
    wait: float | None = None
    """Seconds until the next time."""
    notes: list[tuple[str, str, str]] = field(default_factory=list)


def stamp(at: datetime) -> str:
    """Return a time as objects carry it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plan(cron_job: Object, jobs: Sequence[Object], now: datetime) -> Plan:
    """Compare a CronJob with its jobs at the time ``now``."""
    spec = cron_job["spec"]
    todo = Plan(expired=_expired(spec, jobs))
    if spec.get("suspend") or is_terminating(cron_job):
        return todo
    try:
        schedule = parse(spec["schedule"], spec.get("timeZone") or "")
    except UsageError as error:
        reason = "UnknownTimeZone" if "time zone" in str(error) else "UnparseableSchedule"
        todo.notes.append(("Warning", reason, str(error)))
        return todo
    earliest = _earliest(cron_job, now)
    due = schedule.latest(earliest, now)
    following = schedule.next(due or (earliest if _relative(spec) else now))
    if following is not None:
        todo.wait = max(0.05, (following - now).total_seconds())
    if due is not None and all(job["metadata"]["name"] != job_name(cron_job, due) for job in jobs):
        if _missed_many(schedule, earliest, due):
            text = f"more than {MANY_MISSED} start times were missed; only the last one is made up for"
            todo.notes.append(("Warning", "TooManyMissedTimes", text))
        _decide(todo, cron_job, jobs, due)
    return todo


def _missed_many(schedule: Schedule, earliest: datetime, due: datetime) -> bool:
    missed, at = 0, schedule.next(earliest)
    while at is not None and at <= due and missed <= MANY_MISSED:
        missed, at = missed + 1, schedule.next(at)
    return missed > MANY_MISSED


def _relative(spec: Object) -> bool:
    """Tell whether the next time is counted from the last one."""
    return str(spec["schedule"]).lstrip().startswith("@every")


def _earliest(cron_job: Object, now: datetime) -> datetime:
    """Return the time after which missed times count."""
    last = (cron_job.get("status") or {}).get("lastScheduleTime")
    earliest = datetime.fromisoformat(last or cron_job["metadata"]["creationTimestamp"])
    deadline = cron_job["spec"].get("startingDeadlineSeconds")
    if deadline is not None:
        earliest = max(earliest, now - timedelta(seconds=int(deadline)))
    return earliest


def _decide(todo: Plan, cron_job: Object, jobs: Sequence[Object], due: datetime) -> None:
    running = [job for job in jobs if finished_condition(job) is None and not is_terminating(job)]
    policy = cron_job["spec"].get("concurrencyPolicy") or "Allow"
    if policy == "Forbid" and running:
        text = f"Not starting job for {stamp(due)}: {running[0]['metadata']['name']} is still running"
        todo.notes.append(("Normal", "JobAlreadyActive", text))
        return
    if policy == "Replace":
        todo.replace = running
    todo.make = due


def _expired(spec: Object, jobs: Sequence[Object]) -> list[Object]:
    kept = {
        "Complete": spec.get("successfulJobsHistoryLimit", 3),
        "Failed": spec.get("failedJobsHistoryLimit", 1),
    }
    expired: list[Object] = []
    for kind, limit in kept.items():
        over = [j for j in jobs if (finished_condition(j) or {}).get("type") == kind and not is_terminating(j)]
        over.sort(key=_started)
        expired += over[: max(0, len(over) - int(limit))]
    return expired


def _started(job: Object) -> tuple[str, str]:
    started = (job.get("status") or {}).get("startTime") or job["metadata"].get("creationTimestamp") or ""
    return started, job["metadata"]["name"]


def job_name(cron_job: Object, due: datetime) -> str:
    """Return the name of the job for a time; the same time never gives two jobs."""
    seconds = int(due.timestamp())
    relative = _relative(cron_job["spec"])  # several a minute are possible
    return f"{cron_job['metadata']['name'][:52]}-{seconds if relative else seconds // 60}"


def job_for(cron_job: Object, due: datetime) -> Object:
    """Return the job for a time."""
    template = cron_job["spec"]["jobTemplate"]
    given = template.get("metadata") or {}
    job = JOB.object(job_name(cron_job, due), cron_job["metadata"]["namespace"], spec=copy.deepcopy(template["spec"]))
    job["metadata"] |= {
        "labels": dict(given.get("labels") or {}),
        "annotations": {**(given.get("annotations") or {}), SCHEDULED: stamp(due)},
        "ownerReferences": [owner_reference(cron_job, "batch/v1", "CronJob")],
    }
    return job


def status_of(cron_job: Object, jobs: Sequence[Object], made: datetime | None) -> dict[str, Any]:
    """Return the status; ``made`` is the time that a job was just made for."""
    before: dict[str, Any] = cron_job.get("status") or {}
    status: dict[str, Any] = {}
    active = [j for j in jobs if finished_condition(j) is None and not is_terminating(j)]
    if active:
        status["active"] = [_reference(job) for job in sorted(active, key=lambda j: str(j["metadata"]["name"]))]
    last = stamp(made) if made is not None else before.get("lastScheduleTime")
    if last:
        status["lastScheduleTime"] = last
    done = [(j.get("status") or {}).get("completionTime") or "" for j in jobs]
    success = max([before.get("lastSuccessfulTime") or "", *done])
    if success:
        status["lastSuccessfulTime"] = success
    return status


def _reference(job: Object) -> Object:
    meta = job["metadata"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": meta["name"],
        "namespace": meta["namespace"],
        "uid": uid_of(job),
    }
