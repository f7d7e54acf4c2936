"""Progress in other forms: JSON (whole, can be imported again), CSV, xAPI statements, JUnit.

xAPI as in its specification 1.0.3 (actor, verb, object, result with ``score.scaled``); verbs are ADL's.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from glasshive.errors import ManifestError
from glasshive.lab.progress.store import KINDS, Event

SCHEMA = "glasshive-progress/1"
_VERBS = {
    "begun": "initialized", "attempt": "attempted", "hint": "interacted", "prediction": "answered",
    "solution": "experienced", "reset": "abandoned",
}  # fmt: skip
_ADL = "http://adlnet.gov/expapi/verbs/"


def to_json(events: Sequence[Event]) -> str:
    """All events, with everything."""
    return (
        json.dumps({"schema": SCHEMA, "events": [asdict(one) for one in events]}, indent=1, ensure_ascii=False) + "\n"
    )


def from_json(text: str, where: str) -> list[Event]:
    """Read what ``to_json`` wrote. Raises ManifestError naming what is wrong, and where."""
    try:
        plain = json.loads(text)
    except ValueError as trouble:
        raise ManifestError(f"{where} is not JSON: {trouble}") from None
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA or not isinstance(plain.get("events"), list):
        raise ManifestError(f"{where} is no progress file", hint=f"wanted: schema {SCHEMA}, as lab export writes it")
    return [_event(one, f"{where}: event {at}") for at, one in enumerate(plain["events"], 1)]


def _event(plain: Any, where: str) -> Event:
    wanted = {"uid": str, "at": str, "learner": str, "kind": str, "lab": str, "task": str, "seed": int, "details": dict}
    if not isinstance(plain, dict) or set(plain) != set(wanted):
        raise ManifestError(f"{where}: wants exactly the keys {', '.join(wanted)}")
    for key, kind in wanted.items():
        if not isinstance(plain[key], kind) or isinstance(plain[key], bool):
            raise ManifestError(f"{where}: {key} is {plain[key]!r}")
    if plain["kind"] not in KINDS:
        raise ManifestError(f"{where}: kind is {plain['kind']!r}", hint=f"one of {', '.join(KINDS)}")
    return Event(**plain)


def to_csv(events: Sequence[Event]) -> str:
    """One line an event; score, points and verdict of attempts in columns of their own."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["at", "learner", "lab", "task", "seed", "event", "verdict", "score", "points", "text"])
    for one in events:
        held = one.details
        score = held.get("score")
        told = held.get("text") or held.get("chosen") or ""
        writer.writerow(
            [one.at, one.learner, one.lab, one.task, one.seed, one.kind, held.get("verdict", ""),
             "" if score is None else f"{score:g}", held.get("points", ""), told]
        )  # fmt: skip
    return out.getvalue()


def to_xapi(events: Sequence[Event]) -> str:
    """A list of statements, as a learning record store takes them."""
    return json.dumps([_statement(one) for one in events], indent=1, ensure_ascii=False) + "\n"


def _statement(event: Event) -> dict[str, Any]:
    verdict = event.details.get("verdict", "")
    verb = {"pass": "passed", "fail": "failed"}.get(verdict, _VERBS[event.kind])
    identity = f"urn:glasshive:lab:{event.lab}" + (f":task:{event.task}" if event.task else "")
    made: dict[str, Any] = {
        "id": f"{event.uid[:8]}-{event.uid[8:12]}-{event.uid[12:16]}-{event.uid[16:20]}-{event.uid[20:]}",
        "timestamp": event.at,
        "actor": {"objectType": "Agent", "account": {"homePage": "urn:glasshive", "name": event.learner}},
        "verb": {"id": _ADL + verb, "display": {"en": verb}},
        "object": {"objectType": "Activity", "id": identity, "definition": {"name": {"en": identity}}},
    }
    score = event.details.get("score")
    if event.kind == "attempt":
        made["result"] = {"success": verdict == "pass", "completion": True}
        if score is not None:
            made["result"]["score"] = {"scaled": round(score / 100, 4), "raw": score, "min": 0, "max": 100}
    elif event.kind == "prediction":
        made["result"] = {"success": bool(event.details.get("right")), "response": str(event.details.get("chosen", ""))}
    return made


def to_junit(events: Sequence[Event]) -> str:
    """The last attempt at each task as a test suite, each check as a test case."""
    last: dict[tuple[str, str, int], Event] = {}
    for one in events:
        if one.kind == "attempt":
            last[one.lab, one.task, one.seed] = one
    root = ElementTree.Element("testsuites", name="glasshive labs")
    for (lab, task, seed), event in last.items():
        checks = event.details.get("checks", [])
        facts = {"name": f"lab {lab} {task} seed {seed}", "tests": str(len(checks)), "timestamp": event.at}
        for word, kinds in _COUNTED.items():
            facts[word] = str(sum(1 for one in checks if one["verdict"] in kinds))
        suite = ElementTree.SubElement(root, "testsuite", facts)
        for check in checks:
            _test_case(suite, f"lab{lab}.{task}", check)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


_COUNTED = {"failures": ("fail",), "errors": ("error", "timeout"), "skipped": ("skipped",)}
_ELEMENT = {"fail": "failure", "error": "error", "timeout": "error", "skipped": "skipped"}


def _test_case(suite: ElementTree.Element, classname: str, check: dict[str, Any]) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=classname, name=str(check["title"]), time=f"{float(check.get('seconds', 0)):.3f}"
    )
    element = _ELEMENT.get(check["verdict"])
    if element:
        ElementTree.SubElement(case, element, message=_printable(str(check.get("observed", ""))))


def _printable(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return "".join(one for one in text if one in "\t\n" or ord(one) >= 32)


FORMATS: dict[str, Callable[[Sequence[Event]], str]] = {
    "json": to_json, "csv": to_csv, "xapi": to_xapi, "junit": to_junit,
}  # fmt: skip


def write(events: Iterable[Event], form: str) -> str:
    """Events in one of FORMATS."""
    return FORMATS[form](list(events))
