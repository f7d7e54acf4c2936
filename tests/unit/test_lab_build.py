"""The lab kit on a small lab of its own: manifest, cells, generating, rules, sanitising, running. No cluster."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from glasshive.errors import DeadlineError, ManifestError, NotFoundError
from glasshive.lab import build, commands, execute, headless, lint, manifest, sanitize
from glasshive.lab.cells import read_source
from glasshive.lab.manifest import LabEntry

MANIFEST = """
[[lab]]
id = "90"
topic = "small"
title = "A small lab"
goal = "See that it works."
minutes = 1
domain = ""
objectives = []
needs = []
better = []
backends = ["embedded"]
tier = 0
nodes = 1
"""
SOURCE = """# %% [markdown]
# # A small lab
#
# One minute.

# %% [markdown]
# Some prose about the exercise.

# %% glasshive={"role": "exercise", "id": "sum"}
answer = 0
### BEGIN SOLUTION
answer = 1 + 1
### END SOLUTION

# %% [markdown]
# And its check.

# %% glasshive={"role": "check", "id": "sum"}
"pass: two" if answer == 2 else "fail: not two"

# %% [markdown]
# A program in C.

# %%
# %%bpf --refused broken
# #include <linux/sched.h>
#
# int f(struct xdp_md *ctx) {
#     return 1;
# }

# %% [markdown]
# The end.

# %% glasshive={"role": "reset"}
print("as before")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labs = tmp_path / "labs"
    (labs / "src").mkdir(parents=True)
    (labs / "labs.toml").write_text(MANIFEST, encoding="utf-8")
    (labs / "src" / "90_small.py").write_text(SOURCE, encoding="utf-8")
    return labs


@pytest.fixture
def entry(folder: Path) -> LabEntry:
    return manifest.find_lab("90", folder)


def without_c(entry: LabEntry) -> None:
    """Take the %%bpf cell out: running it needs root."""
    text = re.sub(r"# %%\n# %%bpf.*?# }\n", "# %%\n1 + 1\n", SOURCE, flags=re.DOTALL)
    entry.source.write_text(text, encoding="utf-8")


# manifest -----------------------------------------------------------------------------------------------------------


def test_the_projects_own_manifest_is_in_order() -> None:
    labs = manifest.read_labs()
    assert [one.id for one in labs] == sorted(one.id for one in labs)
    for one in labs:
        assert one.source.is_file()
        one.wanted()


@pytest.mark.parametrize("wanted", ["90", "small", "90_small"])
def test_a_lab_is_found_by_number_topic_and_name(folder: Path, wanted: str) -> None:
    assert manifest.find_lab(wanted, folder).title == "A small lab"


def test_an_unknown_lab_lists_near_ones(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="near it: small"):
        manifest.find_lab("smal", folder)


@pytest.mark.parametrize("wanted", ["99", "05_services", "nothing like it at all"])
def test_a_lab_that_is_like_none_says_which_there_are(wanted: str) -> None:
    with pytest.raises(NotFoundError, match=r"there are 00 to \d\d, [^(]*; glasshive lab list"):
        manifest.find_lab(wanted)


def test_a_part_of_a_topic_is_near_it() -> None:
    with pytest.raises(NotFoundError, match="near it: three_kinds_of_policy"):
        manifest.find_lab("polic")


def test_numbers_are_told_as_ranges() -> None:
    assert manifest._in_ranges(["00", "01", "04", "09", "10", "11"]) == "00 to 01, 04, 09 to 11"
    assert manifest._in_ranges(["90"]) == "90"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("minutes", "minuts"), r"unknown key 'minuts' \(did you mean 'minutes'"),
        (("minutes = 1", ""), "minutes is missing"),
        (("minutes = 1", 'minutes = "1"'), "minutes is '1', not a whole number"),
        (("[[lab]]", "[lab"), "is not TOML"),
        (("[[lab]]", "[[labs]]"), "unknown key 'labs'"),
    ],
)
def test_a_mistake_in_the_manifest_is_named(folder: Path, change: tuple[str, str], complaint: str) -> None:
    (folder / "labs.toml").write_text(MANIFEST.replace(*change), encoding="utf-8")
    with pytest.raises(ManifestError, match=complaint):
        manifest.read_labs(folder)


# cells --------------------------------------------------------------------------------------------------------------


def test_roles_lines_and_both_forms(entry: LabEntry) -> None:
    cells = read_source(entry.source)
    exercise = cells[2]
    assert (exercise.role, exercise.id, exercise.line) == ("exercise", "sum", 9)
    assert exercise.solved() == "answer = 0\nanswer = 1 + 1"
    assert exercise.for_learner() == "answer = 0\n# your turn: write here, then run this cell and the check below"
    assert cells[6].text == (
        "%%bpf --refused broken\n#include <linux/sched.h>\n\nint f(struct xdp_md *ctx) {\n    return 1;\n}"
    )


def test_a_learner_may_be_given_something_wrong_to_begin_with(entry: LabEntry) -> None:
    c_cell = (
        '\n# %% glasshive={"role": "exercise", "id": "c"}\n# %%bpf --object c\n# int f(void)\n# {\n'
        "# \t### BEGIN SOLUTION\n# \treturn 1;\n# \t### INSTEAD\n# \treturn x;\n# \t### END SOLUTION\n"
        "# \t### BEGIN SOLUTION\n# \t;\n# \t### END SOLUTION\n# }\n"
    )
    entry.source.write_text(SOURCE + c_cell, encoding="utf-8")
    exercise = read_source(entry.source)[-1]
    assert exercise.solved() == "%%bpf --object c\nint f(void)\n{\n\treturn 1;\n\t;\n}"
    place = "// your turn: write here, then run this cell and the check below"
    assert exercise.for_learner() == f"%%bpf --object c\nint f(void)\n{{\n\treturn x;\n\t{place}\n}}"


@pytest.mark.parametrize(
    ("change", "line", "complaint"),
    [
        (('"role": "check"', '"role": "chek"'), 18, "unknown role 'chek'"),
        (('"role": "check"', '"rolle": "check"'), 18, "unknown key 'rolle'; allowed: id, role, schema"),
        (('"id": "sum"}\n"pass', '"id": "Sum"}\n"pass'), 18, r"\$.id: 'Sum' does not match"),
        (
            ("# %% [markdown]\n# The end", '# %% [markdown] glasshive={"role": "view"}\n# The end'),
            32,
            "prose has no role",
        ),
        (("### END SOLUTION\n", ""), 9, "1 '### BEGIN SOLUTION' but 0"),
        (('{"role": "exercise", "id": "sum"}', '{"role": "check", "id": "sum"}'), 9, "nothing else has one"),
        ((', "id": "sum"}\nanswer', "}\nanswer"), 9, "needs an id"),
        (("#     return 1;", "    return 1;"), 24, "line 5 of a %%bpf cell is not a comment"),
        (("# %% [markdown]\n# # A small", "import os\n# %% [markdown]\n# # A small"), 1, "text before the first"),
    ],
)
def test_a_broken_source_stops_with_file_and_line(
    entry: LabEntry, change: tuple[str, str], line: int, complaint: str
) -> None:
    entry.source.write_text(SOURCE.replace(*change, 1), encoding="utf-8")
    with pytest.raises(ManifestError, match=rf"90_small\.py:{line}: .*{complaint}"):
        read_source(entry.source)


# generating ---------------------------------------------------------------------------------------------------------


def test_the_same_source_gives_the_same_notebook(entry: LabEntry) -> None:
    for form in commands.FORMS:
        assert build.generate(entry, form) == build.generate(entry, form)
    learner = build.generate(entry, "learner")
    assert not any("SOLUTION" in cell.source or "1 + 1" in cell.source for cell in learner.cells)
    assert learner.cells[2].metadata["glasshive"] == {"schema": 2, "role": "exercise", "id": "sum"}
    assert learner.cells[2].id == "c03-sum"


def test_differences_from_the_source_are_found(entry: LabEntry) -> None:
    assert "is missing" in build.differences(entry, "learner")[0]
    build.write(entry.notebook, build.generate(entry, "learner"))
    assert build.differences(entry, "learner") == []
    entry.source.write_text(SOURCE.replace("Some prose", "Other prose"), encoding="utf-8")
    assert "cell 2 (c02)" in build.differences(entry, "learner")[0]
    entry.source.write_text(SOURCE.replace("1 + 1", "2"), encoding="utf-8")
    assert "another state" in build.differences(entry, "learner")[0]
    entry.source.write_text(SOURCE + "\n# %% [markdown]\n# More.\n", encoding="utf-8")
    assert "has 9 cells, its source 10" in build.differences(entry, "learner")[0]


# running ------------------------------------------------------------------------------------------------------------


def test_a_lab_is_run_written_and_keeps_the_rules(entry: LabEntry) -> None:
    without_c(entry)
    said: list[str] = []
    assert commands._build_one(entry, "none", said.append) == 0
    assert [line for line in said if line.startswith("  [")][:2] == [
        "  [1/4] answer = 0",
        "  [2/4] " + '"pass: two" if answer == 2 else "fail: not two"',
    ]
    for form in commands.FORMS:
        path = build.path_of(entry, form)
        assert build.differences(entry, form) == []
        assert lint.lint(path) == []
    solved = json.loads(entry.solution.read_text(encoding="utf-8"))
    unsolved = json.loads(entry.notebook.read_text(encoding="utf-8"))
    assert solved["cells"][4]["outputs"][0]["data"]["text/plain"] == ["'pass: two'"]
    assert unsolved["cells"][4]["outputs"][0]["data"]["text/plain"] == ["'fail: not two'"]


def test_a_failing_cell_leaves_the_old_notebook(entry: LabEntry) -> None:
    without_c(entry)
    entry.solution.parent.mkdir()
    entry.solution.write_text("old", encoding="utf-8")
    entry.source.write_text(entry.source.read_text(encoding="utf-8").replace("1 + 1", "1 / 0"), encoding="utf-8")
    said: list[str] = []
    assert commands._build_one(entry, "none", said.append) >= 1
    assert any("cell c03-sum failed: ZeroDivisionError" in line for line in said)
    assert entry.solution.read_text(encoding="utf-8") == "old"


def test_a_cell_that_does_not_end_is_stopped(entry: LabEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "CELL_SECONDS", 2)
    without_c(entry)
    entry.source.write_text(
        entry.source.read_text(encoding="utf-8").replace("answer = 1 + 1", "while True: pass"), encoding="utf-8"
    )
    with pytest.raises(DeadlineError, match="longer than 2 s"):
        execute.execute(build.generate(entry, "solved"), entry.folder, cluster="none", name="90_small")


def test_without_a_browser(entry: LabEntry, tmp_path: Path) -> None:
    without_c(entry)
    for form in commands.FORMS:
        build.write(build.path_of(entry, form), build.generate(entry, form))
    said: list[str] = []
    assert headless.run(entry, cluster="none", results=tmp_path / "results", say=said.append)
    assert said[-2].startswith("lab 90: done in")
    assert said[-1].endswith(f"report: {tmp_path}/results/90_small.html")
    assert "kernel: Linux" in (tmp_path / "results" / "90_small.txt").read_text(encoding="utf-8")
    assert (tmp_path / "results" / "90_small.ipynb").is_file()
    assert not headless.run(entry, cluster="none", results=tmp_path / "results", say=said.append, solved=False)
    assert "  fail: not two" in said


# rules --------------------------------------------------------------------------------------------------------------


def clean_notebook(entry: LabEntry) -> Any:
    notebook = build.generate(entry, "solved")
    for number, cell in enumerate((one for one in notebook.cells if one.cell_type == "code"), 1):
        cell.execution_count = number
    return notebook


@pytest.mark.parametrize(
    ("cell", "change", "complaint"),
    [
        (2, {"execution_count": None}, "has not been executed"),
        (2, {"execution_count": 7}, "execution count 7, not 1"),
        (2, {"source": "x = 1\n" * 16}, "16 lines, at most 15"),
        (2, {"source": "def helper():\n    pass"}, "defines helper"),
        (2, {"source": "import requests"}, "imports requests"),
        (2, {"source": "from urllib.request import urlopen"}, "imports urllib.request"),
        (2, {"source": "!pip install x"}, "reaches for a network"),
        (2, {"source": "page = 'https://example.org'"}, "reaches for a network"),
        (2, {"source": "lab._secret"}, "private name"),
        (2, {"source": "1 # NBVAL_IGNORE_OUTPUT"}, "is not compared"),
        (2, {"source": "1", "metadata": {"tags": ["raises-exception"]}}, "is not compared"),
        (2, {"metadata": {"glasshive": {"schema": 1, "role": "view"}}}, "schema 1 is not known"),
        (2, {"metadata": {"glasshive": {"schema": 2, "role": "chek"}}}, "unknown role 'chek'"),
        (2, {"metadata": {"glasshive": {"schema": 2, "points": 3}}}, "unknown key 'points'"),
        (8, {"metadata": {}}, "the last code cell is not the one with the role 'reset'"),
        (0, {"source": "No title"}, "the first cell is not prose with a title"),
        (1, {"source": "![](picture.png)"}, "without alternative text"),
        (1, {"source": '<img src="x.png">'}, "without alternative text"),
    ],
)
def test_each_rule_has_its_complaint(entry: LabEntry, cell: int, change: dict[str, object], complaint: str) -> None:
    notebook = clean_notebook(entry)
    build.write(entry.solution, notebook)
    assert lint.lint(entry.solution) == []
    notebook["cells"][cell].update(change)
    build.write(entry.solution, notebook)
    assert any(complaint in text for text in lint.lint(entry.solution)), lint.lint(entry.solution)


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ({"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}, "shows an error: E: v"),
        ({"output_type": "stream", "name": "stderr", "text": "warning"}, "writes to stderr"),
        ({"output_type": "stream", "name": "stdout", "text": "x" * 30_000}, "at most 20000: show less"),
        ({"output_type": "display_data", "metadata": {}, "data": {"image/png": "aaaa"}}, "without a text twin"),
        (
            {"output_type": "display_data", "metadata": {}, "data": {"image/png": "a", "text/plain": "<Figure>"}},
            "without a text twin",
        ),
    ],
)
def test_outputs_have_rules_too(entry: LabEntry, output: dict[str, object], complaint: str) -> None:
    notebook = clean_notebook(entry)
    notebook["cells"][2]["outputs"] = [nbformat.from_dict(output)]
    build.write(entry.solution, notebook)
    assert any(complaint in text for text in lint.lint(entry.solution))


def test_a_file_that_is_no_notebook(tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text("{", encoding="utf-8")
    assert "not a notebook" in lint.lint(tmp_path / "x.ipynb")[0]


# sanitising ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10.244.1.7 answered in 0.34 ms", "10.244.1.12 answered in 12 ms"),
        ("rtt time=0.05 ms", "rtt time=1.5 ms"),
        ("fd00:10:244:1::a", "fd00:10:244::1f"),
        ("from 10.244.1.0/24 fd00:10:244:1::/64", "from 10.244.0.0/24 fd00:10:244::/64"),
        ("mac 0a:58:0a:f4:00:02", "mac 0a:58:0a:f4:01:1f"),
        ("cluster lab: native", "cluster h-labs: native"),
        ("identity 16777217", "identity=5".replace("=", " ")),
        ("device gh1f@if2", "device gh2"),
        ("gh-lab-pod-0123456789ab", "gh-h-test-pod-ba9876543210"),
        ("a    b  \n", "a b\n"),
        ("43210 -> 80", "51234 -> 80"),
    ],
)
def test_what_may_differ_is_made_the_same(one: str, other: str) -> None:
    assert sanitize.clean(one) == sanitize.clean(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 packets transmitted, 3 received", "3 packets transmitted, 0 received"),
        ("dropped INVALID_SOURCE_IP", "dropped POLICY_DENIED"),
        ("pod on node1", "pod on node2"),
        ("10.244.1.7", "10.244.1.1"),
        ("10.244.0.0/24", "10.244.0.7"),
        ("fd00:10:244:1::1", "fd00:10:244:1::a"),
        ("172.30.0.11", "172.30.0.12"),
        ("port 80", "port 8080"),
        ("pass: reach", "fail: reach"),
    ],
)
def test_what_a_lab_claims_stays(one: str, other: str) -> None:
    assert sanitize.clean(one) != sanitize.clean(other)


def test_nbval_reads_the_table_as_we_do() -> None:
    from nbval.plugin import get_sanitize_patterns

    pairs = get_sanitize_patterns(sanitize.nbval_file())
    assert pairs == [(pattern, replacement) for _, pattern, replacement in sanitize.PATTERNS]
    assert len({pattern for pattern, _ in pairs}) == len(pairs)
