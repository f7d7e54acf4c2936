"""What may reach a grader, what comes back, how lights change, what a new lab is made of: no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glasshive.errors import CapabilityError, ManifestError, NotFoundError, UsageError
from glasshive.lab import create, glossary, lint, status, tasks
from glasshive.lab.explain import explain
from glasshive.lab.grading import marks, protocol
from glasshive.lab.grading.protocol import Request
from glasshive.lab.grading.score import Graded, TaskResult
from glasshive.lab.manifest import find_lab, labs_folder, read_labs
from glasshive.lab.progress.standing import Standing
from glasshive.lab.shown import Shown
from glasshive.model.check_result import CheckResult, Verdict

# the grader's door ---------------------------------------------------------------------------------------------------


def test_a_request_comes_through_as_it_was_sent() -> None:
    for request in (Request("check", ("plug-in",), 3.0), Request("check"), Request("ready", ("a",)), Request("ping")):
        assert protocol.read_request(request.to_line()) == request


@pytest.mark.parametrize(
    "line",
    [
        b"", b"not json", b"[]", b"7", b"{}", b'{"do": "exec"}', b'{"do": "check", "code": "import os"}',
        b'{"do": "check", "tasks": "plug-in"}', b'{"do": "check", "tasks": ["../../etc"]}',
        b'{"do": "check", "tasks": ["a; reboot"]}', b'{"do": "check", "tasks": [7]}',
        b'{"do": "check", "within_s": -1}', b'{"do": "check", "within_s": 31}', b'{"do": "check", "within_s": true}',
        b'{"do": "check", "within_s": NaN}', b'{"do": "check", "tasks": ["' + b"a" * 5000 + b'"]}',
        json.dumps({"do": "check", "tasks": ["a"] * 41}).encode(), b"\xff\xfe",
    ],
)  # fmt: skip
def test_anything_else_ends_at_the_door(line: bytes) -> None:
    with pytest.raises(UsageError):
        protocol.read_request(line)


def test_errors_come_back_as_what_they_were() -> None:
    line = json.dumps(protocol.refusal(NotFoundError("no task", hint="near it: x"))).encode()
    with pytest.raises(NotFoundError, match=r"no task \(near it: x\)"):
        protocol.read_answer(line)
    line = json.dumps(protocol.refusal(CapabilityError("no root"))).encode()
    with pytest.raises(CapabilityError):
        protocol.read_answer(line)


def test_a_namespace_remembers_seed_and_tasks() -> None:
    namespace = marks.namespace_object("lab-01", 7, {"b", "a"})
    assert (marks.seed_of(namespace), marks.begun_in(namespace)) == (7, {"a", "b"})
    assert (marks.seed_of(None), marks.begun_in(None)) == (None, frozenset())
    for wrong in ("-1", "x", str(2**31), ""):
        assert marks.seed_of({"metadata": {"annotations": {marks.SEED: wrong}}}) is None


# lights --------------------------------------------------------------------------------------------------------------


def light(verdict: Verdict | None, observed: str = "x", problem: str = "") -> status.TaskStatus:
    checks = (Graded("c", "it works", 100, CheckResult("c", verdict or Verdict.PASS, observed)),)
    result = TaskResult("t", "A task", 10, checks) if verdict else None
    return status.TaskStatus("01", "t", "A task", 10, 0, result, Standing("01", "t", 0), problem)


def test_green_when_right_and_red_again_when_it_breaks() -> None:
    looks = iter([[light(Verdict.FAIL)], [light(Verdict.PASS)], [light(Verdict.PASS)], [light(Verdict.FAIL, "gone")]])
    watched = status.watch(lambda: next(looks), pause=lambda _: None)
    assert [next(watched) for _ in range(4)] == [
        ["red: lab 01 A task: it works: x"],
        ["green: lab 01 A task: done"],
        [],
        ["red again: lab 01 A task: it works: gone"],
    ]


def test_what_cannot_be_told_is_neither_green_nor_red() -> None:
    assert light(Verdict.ERROR).light == "grey"
    assert light(Verdict.PASS, problem="the grader does not answer").light == "grey"
    assert (light(None).light, light(None).now) == ("off", "not open")
    with pytest.raises(UsageError, match="too often"):
        next(status.watch(list, pace_s=0.01))


# words ---------------------------------------------------------------------------------------------------------------


def test_terms_reasons_rows_and_results_are_explained() -> None:
    terms = glossary.read(labs_folder())
    assert repr(explain("ipcache", terms)).startswith("ipcache: ")
    assert "no pod has" in explain("no-endpoint", terms)
    assert explain({"reason": "ttl-exceeded", "mac": "x"}, terms).count("\n") == 1
    failed = TaskResult(
        "t", "T", 1, (Graded("c", "it works", 100, CheckResult("c", Verdict.FAIL, "o", "w", "because")),)
    )
    assert explain(Shown([failed]), terms) == "it works: because"
    with pytest.raises(NotFoundError, match="near it: ipcache"):
        explain("ipcash", terms)


def test_a_result_reads_the_same_as_text_and_as_html() -> None:
    checks = (
        Graded("a", "it is <there>", 50, CheckResult("a", Verdict.FAIL, "seen & done", "wanted", "why", "read")),
        Graded("b", "it works", 50, CheckResult("b", Verdict.SKIPPED, "not assessed")),
    )
    shown = Shown([TaskResult("t", "A task", 10, checks)], next_step='lab.hint("t")', notes=["broken now"])
    for word in ("observed", "wanted", "why", "read", "because", "broken now", "fail", "skipped"):
        assert word in repr(shown)
        assert word in shown._repr_html_()
    assert "&lt;there&gt;" in shown._repr_html_()
    assert "seen &amp; done" in shown._repr_html_()
    assert repr(shown).splitlines()[0] == "fail: A task (0 of 10 points)"


# new labs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labs = tmp_path / "labs"
    (labs / "src").mkdir(parents=True)
    (labs / "labs.toml").write_text("# labs\n", encoding="utf-8")
    (tmp_path / "tasks").mkdir()
    return labs


def test_a_new_lab_can_be_read_built_and_its_task_made(folder: Path) -> None:
    from glasshive.lab import build

    files = create.new_lab("91", "brand_new", "Something new", folder=folder, task_folder=folder.parent / "tasks")
    assert all(path.exists() for path in files)
    entry = find_lab("brand_new", folder)
    for form in ("learner", "solved"):
        notebook = build.generate(entry, form)
        for number, cell in enumerate((one for one in notebook.cells if one.cell_type == "code"), 1):
            cell.execution_count = number  # as if it had been run
        path = build.path_of(entry, form)
        build.write(path, notebook)
        assert lint.lint(path) == []
    made: dict[str, object] = {"__name__": "brand_new"}
    exec(compile((folder.parent / "tasks" / "brand_new.py").read_text(), "brand_new.py", "exec"), made)
    (task,) = made["TASKS"]
    assert task.id == "brand-new"
    assert not task.checks[0].look(None, task.given(0)), "what nobody has written must not pass"


@pytest.mark.parametrize(
    ("number", "topic", "title", "complaint"),
    [
        ("9", "brand_new", "T", "no lab number"),
        ("91", "Brand-New", "T", "no topic"),
        ("91", "../evil", "T", "no topic"),
        ("91", "brand_new", 'T"\nid = "x', "no title"),
    ],
)
def test_a_wrong_name_writes_nothing(folder: Path, number: str, topic: str, title: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        create.new_lab(number, topic, title, folder=folder, task_folder=folder.parent / "tasks")
    assert sorted(one.name for one in folder.rglob("*")) == ["labs.toml", "src"]


def test_nothing_half_made_stays_and_nothing_is_overwritten(folder: Path) -> None:
    where = {"folder": folder, "task_folder": folder.parent / "tasks"}
    create.new_lab("91", "one", "One", **where)
    with pytest.raises(UsageError, match="there is a lab 91_one already"):
        create.new_lab("91", "two", "Two", **where)
    (folder / "src" / "92_two.py").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="is there already"):
        create.new_lab("92", "two", "Two", **where)
    with pytest.raises(FileNotFoundError):
        create.new_lab("93", "three", "Three", folder=folder, task_folder=folder / "nowhere")
    assert (folder / "src" / "92_two.py").read_text(encoding="utf-8") == "mine"
    assert not (folder / "src" / "93_three.py").exists()
    assert [one.id for one in read_labs(folder)] == ["91"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1\ndef broken(:\n", r"broken_tasks\.py:2: "),
        ("x = 1\n\nTASKS = 1 / 0\n", r"broken_tasks\.py:3: ZeroDivisionError"),
    ],
)
def test_a_broken_task_module_is_named_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, complaint: str
) -> None:
    (tmp_path / "broken_tasks.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    with pytest.raises(ManifestError, match=complaint):
        tasks.tasks_of("broken_tasks")
