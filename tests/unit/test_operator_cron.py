"""Schedules against a table and against a slow search; what a CronJob does at a given moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshive.api.cron import Calendar, parse
from glasshive.errors import UsageError
from glasshive.kube.objects import Object
from glasshive.operator import cron_plan


def at(text: str) -> datetime:
    return datetime.fromisoformat(text + "Z" if "+" not in text and not text.endswith("Z") else text)


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "following"),
    [
        ("* * * * *", "", "2026-01-01T00:00:00", "2026-01-01T00:01:00"),
        ("*/15 * * * *", "", "2026-01-01T00:14:59", "2026-01-01T00:15:00"),
        ("0 9-17/4 * * MON-FRI", "", "2026-01-02T17:00:00", "2026-01-05T09:00:00"),
        ("5/20 * * * *", "", "2026-01-01T00:26:00", "2026-01-01T00:45:00"),
        ("0 0 29 2 *", "", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 31 * *", "", "2026-01-31T00:00:00", "2026-03-31T00:00:00"),
        ("0 0 1,15 jan,JUL ?", "", "2026-01-15T00:00:00", "2026-07-01T00:00:00"),
        # Both days given: either of them; the thirteenth, or a Friday.
        ("0 0 13 * 5", "", "2026-01-09T00:00:00", "2026-01-13T00:00:00"),
        ("0 0 * * 0", "", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("@weekly", "", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("@hourly", "", "2026-01-01T00:00:30", "2026-01-01T01:00:00"),
        ("@yearly", "", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("@every 1h30m", "", "2026-01-01T00:00:00", "2026-01-01T01:30:00"),
        ("30 9 * * *", "Europe/Berlin", "2026-07-01T00:00:00", "2026-07-01T07:30:00"),
        ("30 9 * * *", "Asia/Kolkata", "2026-07-01T00:00:00", "2026-07-01T04:00:00"),
        # Summer time begins on 29 March 2026 at 2:00 in Berlin: 2:30 does not happen that day.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-30T00:30:00"),
        # It ends on 25 October 2026 at 3:00: 2:30 happens twice.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00", "2026-10-25T00:30:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-25T01:30:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:30:00", "2026-10-26T01:30:00"),
        # Lord Howe Island moves by half an hour.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00", "2026-10-04T15:15:00"),
    ],
)
def test_next(schedule: str, zone: str, after: str, following: str) -> None:
    assert parse(schedule, zone).next(at(after)) == at(following)


def test_what_never_happens_is_none() -> None:
    assert parse("0 0 30 2 *").next(at("2026-01-01T00:00:00")) is None
    assert parse("0 0 30 2 *").latest(at("2020-01-01T00:00:00"), at("2026-01-01T00:00:00")) is None


@pytest.mark.parametrize(
    ("schedule", "zone", "part"),
    [
        ("* * * *", "", "has 4 fields"),
        ("* * * * * *", "", "has 6 fields"),
        ("60 * * * *", "", "minute '60': expected 0 to 59"),
        ("* 24 * * *", "", "hour '24'"),
        ("* * 0 * *", "", "day of month '0': expected 1 to 31"),
        ("* * * foo *", "", "month 'foo': expected 1 to 12 or a name"),
        ("* * * * 7", "", "day of week '7': expected 0 to 6 or a name"),
        ("*/0 * * * *", "", "step must be"),
        ("5-1 * * * *", "", "runs backwards"),
        ("1,,2 * * * *", "", "minute ''"),
        ("@fortnightly", "", "allowed words"),
        ("@every", "", "expected a duration"),
        ("@every 5 parsecs", "", "expected a duration"),
        ("* * * * *", "Mars/Olympus", "unknown time zone 'Mars/Olympus'"),
        ("* * * * *", "Local", "unknown time zone"),
        ("* * * * *", "../etc/passwd", "unknown time zone"),
        ("", "", "has 0 fields"),
        ("٣ * * * *", "", "minute"),
    ],
)
def test_mistakes_are_named(schedule: str, zone: str, part: str) -> None:
    with pytest.raises(UsageError, match=part.replace("(", r"\(")):
        parse(schedule, zone)


def spans(low: int, high: int) -> st.SearchStrategy[str]:
    one = st.integers(low, high)
    span = st.tuples(one, one, st.integers(1, 7)).map(lambda t: f"{min(t[:2])}-{max(t[:2])}/{t[2]}")
    return st.one_of(st.just("*"), st.lists(st.one_of(one.map(str), span), min_size=1, max_size=3).map(",".join))


SCHEDULES = st.tuples(spans(0, 59), spans(0, 23), spans(1, 28), spans(1, 12), spans(0, 6)).map(" ".join)
ZONES = st.sampled_from(["", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"])
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001 - the zone is added below


@settings(max_examples=150, deadline=None)
@given(SCHEDULES, ZONES, MOMENTS)
def test_next_is_the_first_that_matches(schedule: str, zone: str, moment: datetime) -> None:
    calendar = parse(schedule, zone)
    assert isinstance(calendar, Calendar)
    moment = moment.replace(tzinfo=UTC)
    found = calendar.next(moment)
    if found is None:
        return
    assert found > moment
    assert matches(calendar, found)
    probe = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(3000):  # two days, minute by minute
        if probe >= found:
            break
        assert not matches(calendar, probe)
        probe += timedelta(minutes=1)
    assert calendar.latest(moment, found) == found
    assert calendar.latest(moment, found - timedelta(seconds=1)) is None


def matches(calendar: Calendar, moment: datetime) -> bool:
    local = moment.astimezone(calendar.zone)
    day = local.day in calendar.day.values
    weekday = local.isoweekday() % 7 in calendar.weekday.values
    both = calendar.day.star or calendar.weekday.star
    return (
        local.second == 0
        and local.minute in calendar.minute.values
        and local.hour in calendar.hour.values
        and local.month in calendar.month.values
        and ((day and weekday) if both else (day or weekday))
    )


# -- what a CronJob does


def cron_job(last: str = "", **spec: Any) -> Object:
    template = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": []}}}}
    meta = {"name": "tick", "namespace": "default", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {
        "metadata": meta,
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": template, **spec},
        "status": {"lastScheduleTime": last} if last else {},
    }


def job(name: str, end: str = "", started: str = "2026-01-01T00:00:00Z") -> Object:
    conditions = [{"type": end, "status": "True"}] if end else []
    status = {"startTime": started, "conditions": conditions}
    return {"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": {}, "status": status}


NOON = at("2026-01-01T12:01:00")


def test_a_missed_time_is_made_up_for_once() -> None:
    todo = cron_plan.plan(cron_job("2026-01-01T11:40:00Z"), [], NOON)
    assert todo.make == at("2026-01-01T12:00:00")
    assert todo.wait == 240
    made = cron_plan.job_for(cron_job(), at("2026-01-01T12:00:00"))
    assert made["metadata"]["name"] == "tick-29454480"
    assert made["metadata"]["annotations"] == {cron_plan.SCHEDULED: "2026-01-01T12:00:00Z"}
    again = cron_plan.plan(cron_job("2026-01-01T11:40:00Z"), [job("tick-29454480")], NOON)
    assert again.make is None
    assert again.wait == 240


@pytest.mark.parametrize(
    ("spec", "jobs", "make", "replaced", "reason"),
    [
        ({}, [], True, 0, ""),
        ({"suspend": True}, [], False, 0, ""),
        ({"concurrencyPolicy": "Allow"}, [job("a")], True, 0, ""),
        ({"concurrencyPolicy": "Forbid"}, [job("a")], False, 0, "JobAlreadyActive"),
        ({"concurrencyPolicy": "Forbid"}, [job("a", "Complete")], True, 0, ""),
        ({"concurrencyPolicy": "Replace"}, [job("a"), job("b", "Failed")], True, 1, ""),
        ({"startingDeadlineSeconds": 30}, [], False, 0, ""),
        ({"startingDeadlineSeconds": 90}, [], True, 0, ""),
        ({"schedule": "nonsense"}, [], False, 0, "UnparseableSchedule"),
        ({"timeZone": "Mars/Olympus"}, [], False, 0, "UnknownTimeZone"),
    ],
)
def test_policies(spec: Object, jobs: list[Object], make: bool, replaced: int, reason: str) -> None:
    todo = cron_plan.plan(cron_job("2026-01-01T11:55:00Z", **spec), jobs, NOON)
    assert (todo.make is not None) == make
    assert len(todo.replace) == replaced
    assert [note[1] for note in todo.notes] == ([reason] if reason else [])


def test_a_long_absence_is_reported_and_costs_little() -> None:
    todo = cron_plan.plan(cron_job("2021-01-01T00:00:00Z", schedule="* * * * *"), [], NOON)
    assert todo.make == NOON
    assert [note[1] for note in todo.notes] == ["TooManyMissedTimes"]


def test_history_limits() -> None:
    done = [job(f"d{i}", "Complete", f"2026-01-01T00:0{i}:00Z") for i in range(5)]
    failed = [job(f"f{i}", "Failed", f"2026-01-01T00:0{i}:00Z") for i in range(3)]
    todo = cron_plan.plan(cron_job("2026-01-01T12:00:00Z"), [*done, *failed, job("running")], NOON)
    assert {j["metadata"]["name"] for j in todo.expired} == {"d0", "d1", "f0", "f1"}
    none = cron_plan.plan(
        cron_job("2026-01-01T12:00:00Z", successfulJobsHistoryLimit=0, failedJobsHistoryLimit=0), done, NOON
    )
    assert len(none.expired) == 5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400))
def test_every_keeps_its_distance(seconds: int, late: int) -> None:
    found = cron_job("2026-01-01T12:00:00Z", schedule=f"@every {seconds}s")
    todo = cron_plan.plan(found, [], at("2026-01-01T12:00:00") + timedelta(seconds=late))
    assert (todo.make is not None) == (late >= seconds)
    if todo.make is not None:
        passed = (todo.make - at("2026-01-01T12:00:00")).total_seconds()
        assert passed % seconds == 0
        assert late - seconds < passed <= late
    assert todo.wait is not None
    assert 0 < todo.wait <= seconds
