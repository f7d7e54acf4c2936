"""Times of a CronJob schedule: five fields, macros, ``@every``, in a time zone. Pure.

The rules are those that Kubernetes users know (crontab(5), as its CronJob documentation describes them): a star in
day of month or day of week leaves the choice to the other of the two, otherwise either may match; a local time that a
change to summer time skips does not happen, one that the change back repeats happens twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from glasshive.errors import UsageError

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_HORIZON = timedelta(days=5 * 366)
_LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=367), _HORIZON)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|m|s|ms)")
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Kind(NamedTuple):
    """What one of the five fields may hold."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_KINDS = (
    Kind("minute", 0, 59),
    Kind("hour", 0, 23),
    Kind("day of month", 1, 31),
    Kind("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    Kind("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


class Schedule(Protocol):
    """When something happens."""

    def next(self, after: datetime) -> datetime | None:
        """Return the first time later than ``after``, None if there is none within five years."""

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """Return the last time in (after, until]."""


@dataclass(frozen=True)
class Field:
    """Allowed values of one field; ``star`` tells that it was left open."""

    values: frozenset[int]
    star: bool


@dataclass(frozen=True)
class Calendar:
    """A schedule by minute, hour, day of month, month, day of week (0 is Sunday) in a time zone."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    zone: tzinfo

    def next(self, after: datetime) -> datetime | None:
        """See ``Schedule``."""
        # Steps are taken in absolute time, so that hours that the clock skips or repeats need no care of their own.
        at = after.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = at + _HORIZON
        while at <= end:
            local = at.astimezone(self.zone)
            if local.month not in self.month.values or not self._day_matches(local):
                midnight = datetime(local.year, local.month, local.day, tzinfo=self.zone) + timedelta(days=1)
                at = midnight.astimezone(UTC)
            elif local.hour not in self.hour.values:
                at += timedelta(minutes=60 - local.minute)
            elif local.minute not in self.minute.values:
                later = [m for m in self.minute.values if m > local.minute]
                at += timedelta(minutes=min(later, default=60) - local.minute)
            else:
                return at
        return None

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """See ``Schedule``. Looks back from ``until`` in growing spans, so that a long gap costs little."""
        for span in _LOOK_BACK:
            start = max(after, until - span)
            found: datetime | None = None
            at = self.next(start)
            while at is not None and at <= until:
                found, at = at, self.next(at)
            if found is not None or start == after:
                return found
        return None

    def _day_matches(self, local: datetime) -> bool:
        day = local.day in self.day.values
        weekday = local.isoweekday() % 7 in self.weekday.values
        return (day and weekday) if self.day.star or self.weekday.star else (day or weekday)


@dataclass(frozen=True)
class Every:
    """A fixed distance between times, whole seconds."""

    seconds: int

    def next(self, after: datetime) -> datetime | None:
        """See ``Schedule``."""
        return after.replace(microsecond=0) + timedelta(seconds=self.seconds)

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """See ``Schedule``."""
        after = after.replace(microsecond=0)
        steps = int((until - after).total_seconds() // self.seconds)
        return after + timedelta(seconds=steps * self.seconds) if steps > 0 else None


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name, UTC for "". Raises UsageError for an unknown one."""
    if not name:
        return UTC
    try:
        if name.lower() != "local":  # where the operator happens to run is nobody's business
            return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a folder's name gives an OSError
        pass
    raise UsageError(f"unknown time zone {name!r}; use a name such as Europe/Berlin or Etc/UTC")


def parse(text: str, zone: str = "") -> Schedule:
    """Return the schedule that ``text`` describes. Raises UsageError that names the field and what is allowed."""
    where = zone_of(zone)
    words = text.split()
    if words[:1] == ["@every"]:
        return Every(_duration(text, "".join(words[1:])))
    if text.strip().startswith("@"):
        if text.strip() not in MACROS:
            raise UsageError(f"schedule {text!r}: allowed words: {', '.join(MACROS)}, @every <duration>")
        words = MACROS[text.strip()].split()
    if len(words) != 5:
        raise UsageError(f"schedule {text!r} has {len(words)} fields, expected 5: minute hour day month weekday")
    minute, hour, day, month, weekday = (_field(kind, word) for kind, word in zip(_KINDS, words, strict=True))
    return Calendar(minute, hour, day, month, weekday, where)


def _duration(text: str, words: str) -> int:
    parts = _DURATION.findall(words)
    if not parts or "".join(n + unit for n, unit in parts) != words:
        raise UsageError(f"schedule {text!r}: expected a duration such as 1h30m after @every")
    return max(1, int(sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)))


def _field(kind: Kind, text: str) -> Field:
    values: set[int] = set()
    star = False
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        if slash and (not step_text.isdigit() or not int(step_text)):
            raise UsageError(f"schedule: {kind.name} {part!r}: the step must be a number above 0")
        step = int(step_text) if slash else 1
        if span in {"*", "?"}:
            first, last = kind.low, kind.high
            star = star or step == 1
        else:
            start, dash, end = span.partition("-")
            first = _number(kind, part, start)
            last = _number(kind, part, end) if dash else (kind.high if slash else first)
        if first > last:
            raise UsageError(f"schedule: {kind.name} {part!r}: the range runs backwards")
        values.update(range(first, last + 1, step))
    return Field(frozenset(values), star)


def _number(kind: Kind, part: str, text: str) -> int:
    if text.lower() in kind.names:
        return kind.names.index(text.lower()) + kind.low
    if not (text.isascii() and text.isdigit()) or not kind.low <= int(text) <= kind.high:
        named = " or a name" if kind.names else ""
        raise UsageError(f"schedule: {kind.name} {part!r}: expected {kind.low} to {kind.high}{named}")
    return int(text)
