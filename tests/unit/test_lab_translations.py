"""Prose in another language and the glossary, on a small lab of its own: stale, missing, unlinked. No cluster."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from glasshive.errors import ManifestError, NotFoundError, UsageError
from glasshive.lab import build, commands, glossary, lint, manifest, translations
from glasshive.lab.cells import read_source
from glasshive.lab.manifest import LabEntry

MANIFEST = """
[[lab]]
id = "91"
topic = "words"
title = "Words"
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
# # Words
#
# The [[ipcache]] of [[endpoint|endpoints]].

# %%
1 + 1

# %% [markdown] glasshive={"id": "more"}
# More of the ipcache.

# %% glasshive={"role": "exercise", "id": "sum"}
### BEGIN SOLUTION
2 + 2
### END SOLUTION

# %% [markdown]
# Another way.

# %% glasshive={"role": "solution"}
4

# %% [markdown]
# The end.

# %% glasshive={"role": "reset"}
print("as before")
"""
GLOSSARY = """[[term]]
term = "ipcache"
where = "bpf/types/ipcache.h"
cilium = "`cilium_ipcache`"
means = "who is where"

[[term]]
term = "endpoint"
also = ["endpoints"]
where = "lib/endpoint"
cilium = "`cilium_lxc`"
means = "a pod"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labs = tmp_path / "labs"
    (labs / "src").mkdir(parents=True)
    (tmp_path / "bpf" / "types").mkdir(parents=True)
    (tmp_path / "bpf" / "types" / "ipcache.h").touch()
    (tmp_path / "lib" / "endpoint").mkdir(parents=True)
    (labs / "labs.toml").write_text(MANIFEST, encoding="utf-8")
    (labs / "glossary.toml").write_text(GLOSSARY, encoding="utf-8")
    (labs / "src" / "91_words.py").write_text(SOURCE, encoding="utf-8")
    return labs


@pytest.fixture
def entry(folder: Path) -> LabEntry:
    return manifest.find_lab("91", folder)


@pytest.fixture
def korean(entry: LabEntry) -> Path:
    """A whole translation."""
    path = translations.path_of(entry, "ko")
    prose = [cell for cell in read_source(entry.source) if cell.kind == "markdown"]
    words = ("# 낱말\n\n[[endpoint|엔드포인트(endpoint)]]의 [[ipcache]].", "더 많은 ipcache.", "다른 방법.", "끝.")
    made = [f"<!-- cell {cell.key} of {cell.mark} -->\n{text}\n" for cell, text in zip(prose, words, strict=True)]
    path.write_text("\n".join(made), encoding="utf-8")
    return path


def trouble(entry: LabEntry) -> list[str]:
    path = translations.path_of(entry, "ko")
    return translations.match(path, translations.read(path), read_source(entry.source))[1]


def executed(entry: LabEntry) -> None:
    for form in commands.FORMS:
        notebook = build.generate(entry, form)
        for number, cell in enumerate((one for one in notebook.cells if one.cell_type == "code"), 1):
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"{number}\n")]
        build.write(build.path_of(entry, form), notebook)


# translations -------------------------------------------------------------------------------------------------------


def test_a_whole_translation_has_the_code_and_outputs_of_the_english_notebook(entry: LabEntry, korean: Path) -> None:
    executed(entry)
    assert trouble(entry) == []
    assert translations.languages(entry) == ["ko"]
    path = build.reword(entry, "learner", "ko")
    assert path.name == "91_words.ko.ipynb"
    made, english = (nbformat.read(one, as_version=4) for one in (path, entry.notebook))
    assert made.cells[0].source.startswith("# 낱말\n\n[엔드포인트(endpoint)](../lib/endpoint) (*Cilium: `cilium_lxc`*)")
    for one, other in zip(made.cells, english.cells, strict=True):
        assert one.id == other.id
        if one.cell_type == "code":
            assert (one.source, one.outputs) == (other.source, other.outputs)
    assert build.differences(entry, "learner", "ko") == []
    assert lint.lint(path, terms=glossary.read(entry.folder)) == []


def test_a_changed_english_cell_makes_its_passage_stale(entry: LabEntry, korean: Path) -> None:
    entry.source.write_text(SOURCE.replace("More of", "Much more of"), encoding="utf-8")
    (said,) = trouble(entry)
    assert said.startswith(f"{korean}:6: cell c03-more is stale: the English text (line 9 of the source) has changed")
    assert f"<!-- cell c03-more of {read_source(entry.source)[2].mark} -->" in said
    shown = build.generate(entry, "learner", "ko")
    assert shown.cells[2].source == "Much more of the ipcache."  # never an old word about new code
    assert shown.cells[-2].source == "끝."


def test_a_cell_that_moved_keeps_its_passage(entry: LabEntry, korean: Path) -> None:
    moved = SOURCE.replace("# %%\n1 + 1", "# %% [markdown]\n# New.\n\n# %%\n1 + 1")
    entry.source.write_text(moved, encoding="utf-8")
    (said,) = trouble(entry)
    assert said.startswith(f"{korean}:1: lacks <!-- cell c02 of ")
    assert build.generate(entry, "learner", "ko").cells[3].source == "더 많은 ipcache."


def test_a_passage_of_no_cell_is_named(entry: LabEntry, korean: Path) -> None:
    gone = SOURCE.replace('# %% [markdown] glasshive={"id": "more"}\n# More of the ipcache.\n\n', "")
    entry.source.write_text(gone, encoding="utf-8")
    assert trouble(entry) == [f"{korean}:6: cell c03-more is of no cell of the source: remove it"]


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("hello\n", 1, "text before the first cell"),
        ("<!-- cell c01 of xyz -->\n", 1, "not understood"),
        ("<!-- cell c01 of 0123456789ab -->\n[[ipcach]]\n", 1, "is of no cell|stale"),
    ],
)
def test_a_broken_translation_is_named_with_file_and_line(
    entry: LabEntry, korean: Path, text: str, line: int, complaint: str
) -> None:
    korean.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=rf"91_words\.ko\.md:{line}: .*({complaint})"):
        raise ManifestError(trouble(entry)[0])


def test_the_command_writes_only_what_has_prose(entry: LabEntry, korean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSHIVE_LABS", str(entry.folder))
    executed(entry)
    said: list[str] = []
    assert commands.build([], cluster="none", say=said.append, language="ko") == 0
    assert said == [f"91_words: wrote {entry.folder / '91_words.ko.ipynb'}"]
    assert commands.check([], say=said.append) == 0, said
    with pytest.raises(NotFoundError, match="no lab has prose in 'fr'"):
        commands.build([], cluster="none", say=said.append, language="fr")
    with pytest.raises(ManifestError, match="is no language"):
        commands.build(["91"], cluster="none", say=said.append, language="../x")


def test_other_outputs_than_the_english_ones_are_found(entry: LabEntry, korean: Path) -> None:
    executed(entry)
    path = build.reword(entry, "learner", "ko")
    path.write_text(path.read_text(encoding="utf-8").replace('"1\\n"', '"7\\n"'), encoding="utf-8")
    assert "shows other outputs than 91_words.ipynb" in build.differences(entry, "learner", "ko")[0]


# roles --------------------------------------------------------------------------------------------------------------


def test_a_solution_cell_is_only_in_the_solved_notebook_and_reset_may_not_be_edited(entry: LabEntry) -> None:
    solved, learner = (build.generate(entry, form) for form in commands.FORMS)
    assert [cell.id for cell in solved.cells if cell.source == "4"] == ["c06"]
    assert not [cell.id for cell in learner.cells if cell.source == "4"]
    assert (learner.cells[-1].metadata["editable"], learner.cells[-1].metadata["deletable"]) == (False, False)


# glossary -----------------------------------------------------------------------------------------------------------


def test_links_are_made_for_the_folder_that_the_notebook_lies_in(entry: LabEntry) -> None:
    solved, learner = (build.generate(entry, form) for form in commands.FORMS)
    assert "[ipcache](../bpf/types/ipcache.h) (*Cilium: `cilium_ipcache`*)" in learner.cells[0].source
    assert "[ipcache](../../bpf/types/ipcache.h)" in solved.cells[0].source


@pytest.mark.parametrize(
    ("prose", "complaint"),
    [
        ("The ipcache knows.", "c01 'ipcache' stands here for the first time without its link: write [[ipcache]]"),
        (
            "All Endpoints.",
            "c01 'Endpoints' stands here for the first time without its link: write [[endpoint|Endpoints]]",
        ),
        ("The [ipcache](../bpf/types/ipcache.h).", "c01 'ipcache' stands"),  # Cilium's name is not there
        ("The [ipcache](../elsewhere.h) (`cilium_ipcache`).", "c01 'ipcache' stands"),
        ("The [[ipcache]] and the ipcache.", ""),
        ("# ipcache\n\n`ipcache`\n\n```text\nipcache\n```\n\nthe ipcaches and my-ipcache", ""),
    ],
)
def test_the_first_use_of_a_term_has_its_link(folder: Path, prose: str, complaint: str) -> None:
    terms = glossary.read(folder)
    found = [f"{cell} {text}" for cell, text in glossary.unlinked([("c01", glossary.expand(prose, terms, ""))], terms)]
    assert [one.startswith(complaint) for one in found] == ([True] if complaint else [])


def test_a_complaint_names_the_source_and_its_line(entry: LabEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSHIVE_LABS", str(entry.folder))
    entry.source.write_text(SOURCE.replace("[[ipcache]] of", "cache of"), encoding="utf-8")
    executed(entry)
    said: list[str] = []
    assert commands.check([], say=said.append) == 1
    assert said[0].startswith(f"{entry.source}:9: c03-more of solutions/91_words.ipynb: 'ipcache' stands here")


def test_an_unknown_term_stops_the_builder(entry: LabEntry) -> None:
    entry.source.write_text(SOURCE.replace("[[ipcache]]", "[[ipcach]]"), encoding="utf-8")
    with pytest.raises(
        ManifestError, match=r"91_words\.py:1: \[\[ipcach\]\] is not in glossary.toml \(near it: ipcache"
    ):
        build.generate(entry, "learner")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("bpf/types/ipcache.h", "bpf/types/gone.h"), r"toml:1: term 'ipcache': there is no bpf/types/gone.h"),
        (('cilium = "`cilium_lxc`"', 'cilium = ""'), r"toml:7: cilium is '': text is wanted"),
        (('cilium = "`cilium_lxc`"', ""), r"toml:7: cilium is None"),
        (('means = "a pod"', 'means = "a pod"\nmean = ""'), r"toml:7: unknown key 'mean'"),
        (('term = "endpoint"', 'term = "ipcache"'), r"toml:1: term 'ipcache' stands there twice"),
        (("[[term]]", "[[terms]]"), r"toml:1: unknown key 'terms'"),
        (("[[term]]", "[[term"), "is not TOML"),
    ],
)
def test_a_mistake_in_the_glossary_is_named(folder: Path, change: tuple[str, str], complaint: str) -> None:
    (folder / "glossary.toml").write_text(GLOSSARY.replace(*change), encoding="utf-8")
    with pytest.raises(ManifestError, match=complaint):
        glossary.read(folder)


# prose that changed -------------------------------------------------------------------------------------------------


def test_new_prose_keeps_the_outputs_and_new_code_does_not(entry: LabEntry) -> None:
    executed(entry)
    entry.source.write_text(SOURCE.replace("# %%\n1 + 1", "# %% [markdown]\n# New.\n\n# %%\n1 + 1"), encoding="utf-8")
    build.reword(entry, "learner")
    made = nbformat.read(entry.notebook, as_version=4)
    assert (made.cells[1].source, made.cells[2].outputs[0]["text"]) == ("New.", "1\n")
    assert build.differences(entry, "learner") == []
    entry.source.write_text(SOURCE.replace("1 + 1", "1 + 3"), encoding="utf-8")
    with pytest.raises(ManifestError, match=r"91_words\.py:6: the code has changed since it was run"):
        build.reword(entry, "learner")


# the whole of a notebook --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "prose", "complaint"),
    [
        (["1"] * 26, ["Words."] * 26, "26 code cells, at most 25"),
        (["1"] * 3, ["Words."], "1 cells of prose for 3 of code: say what each is for"),
        (["1"], ["x" * 310_000], "bytes, at most 300000: show less"),
        (["%%bpf big\n" + "// line\n" * 61], ["Words."], "lines, at most 60"),
        (["from glasshive.lab import _secret"], ["Words."], "uses a private name"),
        (["%pip install x"], ["Words."], "reaches for a network"),
    ],
)
def test_a_notebook_has_its_sizes_and_its_manners(
    tmp_path: Path, code: list[str], prose: list[str], complaint: str
) -> None:
    cells = [nbformat.v4.new_markdown_cell(f"# {text}") for text in prose]
    cells += [nbformat.v4.new_code_cell(text, execution_count=at) for at, text in enumerate(code, 1)]
    for at, cell in enumerate(cells):
        cell.id = f"x{at}"
    path = tmp_path / "big.ipynb"
    build.write(path, nbformat.v4.new_notebook(cells=cells))
    assert any(complaint in text for text in lint.lint(path)), lint.lint(path)


def test_what_is_no_notebook_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none.ipynb"
    path.write_text("{", encoding="utf-8")
    assert lint.lint(path)[0].startswith(f"{path}: not a notebook: ")


def test_a_lab_that_somebody_has_open_is_not_built(entry: LabEntry) -> None:
    class There:
        name = "demo"

        def get(self, kind: str, *, namespace: str | None) -> list[dict[str, object]]:
            assert (kind, namespace) == ("namespace", None)
            return [{"metadata": {"name": "default"}}, {"metadata": {"name": "lab-91"}}]

    with pytest.raises(UsageError, match="lab 91 is open on cluster demo"):
        commands._refuse_open(There(), [entry])  # type: ignore[arg-type]
