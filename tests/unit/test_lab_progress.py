"""The progress file: nothing acknowledged is lost, nothing damaged is overwritten, everything can be exported."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from glasshive.errors import ManifestError, UsageError
from glasshive.lab.grading.score import Graded, TaskResult
from glasshive.lab.kit.diary import Diary
from glasshive.lab.progress import export, store
from glasshive.lab.progress.standing import of_task, standings
from glasshive.lab.progress.store import ProgressStore
from glasshive.model.check_result import CheckResult, Verdict


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "state" / "progress.db"
    monkeypatch.setenv("GLASSHIVE_PROGRESS", str(found))
    monkeypatch.setenv("GLASSHIVE_LEARNER", "bee")
    return found


def result(*verdicts: Verdict) -> TaskResult:
    weight = 100 // len(verdicts)
    checks = [Graded(f"c{n}", f"check {n}", weight, CheckResult(f"c{n}", one, f"saw {n}"), void=one is Verdict.ERROR)
              for n, one in enumerate(verdicts)]  # fmt: skip
    return TaskResult("plug-in", "Plug in", 100, tuple(checks))


def a_history(path: Path) -> ProgressStore:
    diary = Diary("01", 7)
    diary.begun("plug-in")
    diary.attempt(result(Verdict.FAIL, Verdict.SKIPPED))
    diary.hint("plug-in", "c0", "absent", 1)
    diary.prediction("which?", "a", "")
    diary.prediction("which?", "a", "b")
    diary.attempt(result(Verdict.PASS, Verdict.PASS))
    kept = store.current()
    assert kept is not None
    assert kept.path == path
    return kept


def test_the_file_is_private_and_its_folder_too(path: Path) -> None:
    kept = a_history(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {one.kind for one in kept.events()} == {"begun", "attempt", "hint", "prediction"}


def test_standing_is_what_the_events_say(path: Path) -> None:
    now = of_task(a_history(path).events(), "01", "plug-in", 7)
    assert (now.attempts, now.hints, now.last, now.best) == (2, 1, 100, 100)
    assert now.passed_at
    assert len(standings(store.current().events())) == 1
    assert of_task([], "01", "plug-in", 8).attempts == 0


def test_passed_earlier_and_broken_now_is_said(path: Path) -> None:
    a_history(path)
    assert "broken now" in Diary("01", 7).attempt(result(Verdict.FAIL))
    assert Diary("01", 8).attempt(result(Verdict.FAIL)) == ""


def test_hints_go_on_where_an_earlier_kernel_stopped(path: Path) -> None:
    a_history(path)
    assert Diary("01", 7).hints_given("plug-in", "c0", "absent") == 1
    assert Diary("01", 7).hints_given("plug-in", "c0", "wrong-node") == 0


def test_off_keeps_nothing_and_hints_still_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSHIVE_PROGRESS", "off")
    diary = Diary("01", 0)
    assert diary.attempt(result(Verdict.FAIL)) == ""
    diary.hint("plug-in", "c0", "", 2)
    assert diary.hints_given("plug-in", "c0", "") == 2


_WRITER = """
import sys
from pathlib import Path
from glasshive.lab.progress.store import ProgressStore
kept = ProgressStore(Path(sys.argv[1]))
for number in range(100000):
    event = kept.record("hint", "01", "plug-in", number=number)
    print(number, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_was_acknowledged(path: Path) -> None:
    acknowledged = []
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            acknowledged += [int(writer.stdout.readline()) for _ in range(20)]
            os.kill(writer.pid, signal.SIGKILL)
    kept = ProgressStore(path)
    assert kept.notice == ""
    numbers = [one.details["number"] for one in kept.events()]
    assert all(numbers.count(number) >= acknowledged.count(number) for number in set(acknowledged))


def test_two_processes_write_side_by_side(path: Path) -> None:
    path.parent.mkdir()
    code = _WRITER.replace("100000", "40")
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [one.wait(60) for one in writers] == [0, 0, 0]
    assert len(ProgressStore(path).events()) == 120


@pytest.mark.parametrize("damage", ["garbage", "torn", "other program", "other table"])
def test_a_damaged_file_is_set_aside_with_its_reason(path: Path, damage: str) -> None:
    kept = a_history(path)
    kept._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept.close()
    if damage == "garbage":
        path.write_bytes(b"not a database " * 100)
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        with sqlite3.connect(path) as other:
            other.execute(
                "PRAGMA application_id = 7"
                if damage == "other program"
                else "ALTER TABLE events RENAME COLUMN lab TO x"
            )
        other.close()
    before = path.read_bytes()
    fresh = ProgressStore(path)
    assert "is damaged" in fresh.notice
    assert fresh.events() == []
    aside = [one for one in path.parent.iterdir() if "damaged" in one.name and one.suffix != ".reason"]
    assert [one.read_bytes() for one in aside if not one.name.endswith(("-wal", "-shm"))] == [before]
    assert list(path.parent.glob("*.reason"))


def test_a_newer_file_is_refused_and_left_alone(path: Path) -> None:
    a_history(path).close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(UsageError, match="newer version"):
        ProgressStore(path)
    assert not list(path.parent.glob("*damaged*"))


def test_what_cannot_be_written_down_is_said_and_the_lab_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSHIVE_PROGRESS", "/proc/nowhere/progress.db")
    assert "was not written down" in Diary("01", 0).attempt(result(Verdict.PASS))


# other forms --------------------------------------------------------------------------------------------------------


def test_json_comes_back_and_an_import_twice_adds_nothing(path: Path, tmp_path: Path) -> None:
    events = a_history(path).events()
    back = export.from_json(export.write(events, "json"), "file")
    assert back == events
    other = ProgressStore(tmp_path / "other.db")
    assert (other.add(back), other.add(back)) == (len(events), 0)
    assert other.events() == events


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "is no progress file"),
        ('{"schema": "glasshive-progress/1", "events": [{}]}', "event 1: wants exactly the keys"),
    ],
)
def test_a_wrong_file_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        export.from_json(text, "some.json")


def test_a_wrong_event_is_named(path: Path) -> None:
    plain = json.loads(export.write(a_history(path).events(), "json"))
    plain["events"][1]["kind"] = "cheat"
    with pytest.raises(ManifestError, match="event 2: kind is 'cheat'"):
        export.from_json(json.dumps(plain), "some.json")


def test_csv_has_a_line_an_event(path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(export.write(a_history(path).events(), "csv"))))
    assert [row["event"] for row in rows] == ["begun", "attempt", "hint", "prediction", "prediction", "attempt"]
    assert rows[-1]["score"] == "100"
    assert rows[1]["verdict"] == "fail"


def test_xapi_has_actor_verb_object_and_scaled_score(path: Path) -> None:
    statements = json.loads(export.write(a_history(path).events(), "xapi"))
    assert [one["verb"]["id"].rsplit("/", 1)[1] for one in statements] == [
        "initialized", "failed", "interacted", "answered", "answered", "passed",
    ]  # fmt: skip
    assert statements[-1]["result"]["score"] == {"scaled": 1.0, "raw": 100.0, "min": 0, "max": 100}
    assert statements[0]["actor"]["account"]["name"] == "bee"
    assert statements[0]["object"]["id"] == "urn:glasshive:lab:01:task:plug-in"


def test_junit_has_the_last_attempt(path: Path) -> None:
    a_history(path)
    Diary("01", 7).attempt(result(Verdict.PASS, Verdict.FAIL, Verdict.ERROR, Verdict.SKIPPED))
    suite = ElementTree.fromstring(export.write(store.current().events(), "junit")).find("testsuite")
    facts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert facts == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    assert suite.findall("testcase")[1].find("failure").get("message") == "saw 1"
