"""``glasshive lab`` for learners, without a cluster: export and import, unknown labs, what is switched off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glasshive.cli import main
from glasshive.lab.progress.store import ProgressStore


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProgressStore:
    path = tmp_path / "progress.db"
    monkeypatch.setenv("GLASSHIVE_PROGRESS", str(path))
    kept = ProgressStore(path)
    kept.record("attempt", "01", "plug-in", 0, verdict="pass", score=100, points=100, checks=[])
    kept.record("hint", "02", "night-shift", 0, check="whole", state="down", tier=1)
    return kept


@pytest.mark.parametrize("form", ["json", "csv", "xapi", "junit"])
def test_every_form_is_printed_and_written(
    progress: ProgressStore, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", "export", "--format", form]) == 0
    printed = capsys.readouterr().out
    target = tmp_path / "out"
    assert main(["lab", "export", "--format", form, "-o", str(target)]) == 0
    assert target.read_text(encoding="utf-8") == printed
    assert "plug-in" in printed


def test_one_labs_progress_can_be_taken_along(
    progress: ProgressStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine.json"
    assert main(["lab", "export", "--lab", "1", "-o", str(target)]) == 0
    assert [one["lab"] for one in json.loads(target.read_text())["events"]] == ["01"]
    monkeypatch.setenv("GLASSHIVE_PROGRESS", str(tmp_path / "other.db"))
    assert main(["lab", "import", str(target)]) == 0
    assert main(["lab", "import", str(target)]) == 0
    assert capsys.readouterr().out.splitlines() == ["1 of 1 events are new", "0 of 1 events are new"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["status", "frist_pod"], "near it: first_pod"),
        (["reset", "frist_pod"], "first_pod"),
        (["export", "--lab", "99"], "there is no lab '99'"),
        (["new", "1", "x", "--title", "T"], "no lab number"),
        (["new", "01", "again", "--title", "T"], "there is a lab 01_first_pod already"),
    ],
)
def test_what_is_wrong_is_one_line(
    progress: ProgressStore, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", *arguments]) in (1, 2)
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert complaint in said[0] or "no cluster" in said[0]


def test_a_damaged_import_changes_nothing(
    progress: ProgressStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"schema": "glasshive-progress/1", "events": [{"uid": "x"}]}', encoding="utf-8")
    assert main(["lab", "import", str(broken)]) == 2
    assert "event 1" in capsys.readouterr().err
    assert len(progress.events()) == 2


def test_switched_off_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GLASSHIVE_PROGRESS", "off")
    assert main(["lab", "export"]) == 2
    assert "switched off" in capsys.readouterr().err


def test_nbvals_table_is_printed_as_nbval_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    from nbval.plugin import get_sanitize_patterns

    from glasshive.lab import sanitize

    assert main(["lab", "sanitize"]) == 0
    assert get_sanitize_patterns(capsys.readouterr().out) == [(one, other) for _, one, other in sanitize.PATTERNS]


def test_a_damaged_progress_file_is_set_aside_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "progress.db"
    path.write_bytes(b"no database at all " * 10)
    monkeypatch.setenv("GLASSHIVE_PROGRESS", str(path))
    assert main(["lab", "export"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["events"] == []
    assert "is damaged" in told.err
    kept = [one for one in tmp_path.glob("progress.db.damaged-*") if not one.name.endswith(".reason")]
    assert [one.read_bytes()[:11] for one in kept] == [b"no database"]
    assert main(["lab", "export"]) == 0
    assert capsys.readouterr().err == ""
