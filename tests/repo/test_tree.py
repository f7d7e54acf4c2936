"""The repository's own rules, so that a reviewer need not remember them."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
from pathlib import Path

import glasshive
from glasshive import errors

ROOT = Path(__file__).resolve().parents[2]
LIB = ROOT / "lib" / "glasshive"
TOP = {"pyproject.toml", "labs", "lib", "bpf", "kind-configs", "exams", "tests", "README.md", "Makefile", "LICENSE"}
DUMPING_GROUNDS = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"}


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(line) for line in done.stdout.splitlines() if (ROOT / line).exists()]


def test_top_level_is_what_was_agreed():
    names = {path.parts[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} <= TOP
    assert {"pyproject.toml", "labs", "lib", "bpf", "tests", "README.md"} <= names


def test_no_dumping_grounds():
    source = {".py", ".c", ".h", ".js"}  # kind-configs/common.yaml is a name that was given
    assert not [path for path in tracked() if path.stem in DUMPING_GROUNDS and path.suffix in source]


def test_no_tracked_file_is_large_or_built():
    assert not [path for path in tracked() if (ROOT / path).stat().st_size > 1 << 20]
    assert not [path for path in tracked() if path.suffix == ".o"]


def test_source_files_stay_readable():
    long = {
        str(path): lines
        for path in tracked()
        if path.suffix in {".py", ".c", ".h"} and path.parts[0] in {"lib", "bpf"}
        for lines in [len((ROOT / path).read_text(encoding="utf-8").splitlines())]
        if lines > 500
    }
    assert not long, f"over 500 lines: {long}"


def test_network_namespace_is_never_read_per_process():
    """The namespace of a process is that of its first thread; ours change theirs in other threads."""
    quoted = re.compile("[\"'](/proc/" + "self/ns/net)[\"']")
    guilty = [path for path in LIB.rglob("*.py") if quoted.search(path.read_text(encoding="utf-8"))]
    assert not guilty


def test_namespaces_are_entered_only_in_net_and_the_pod_runtime():
    call = re.compile(r"\bos\.(setns|unshare)\(")
    allowed = {"net", "cluster"}  # cluster: the pod sandbox is a namespace's maker, in a child process of its own
    guilty = [
        path for path in LIB.rglob("*.py")
        if call.search(path.read_text(encoding="utf-8")) and path.relative_to(LIB).parts[0] not in allowed
    ]  # fmt: skip
    assert not guilty


def test_public_names_exist_and_are_sorted():
    assert glasshive.__all__ == sorted(glasshive.__all__)
    for name in glasshive.__all__:
        assert getattr(glasshive, name) is not None


def test_every_error_is_drawn_in_the_tree():
    doc = errors.__doc__ or ""
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert len(classes) > 10
    for error in classes:
        assert error.__name__ in doc
        assert issubclass(error, errors.GlasshiveError)


def test_every_module_says_what_it_is_for():
    for path in LIB.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not text.strip() or text.startswith('"""'), f"{path} has no docstring"


def test_lock_names_no_registry_and_pins_by_digest():
    lock = (ROOT / ".setup" / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    wanted = re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE)
    assert len(wanted) > 50
    assert lock.count("--hash=sha256:") > len(wanted)
    for needed in [
        "jupyterlab",
        "ipywidgets",
        "anywidget",
        "plotly",
        "kubernetes",
        "pyroute2",
        "papermill",
        "nbval",
        "jupytext",
    ]:
        assert needed in wanted


def test_bcc_comes_from_the_distribution():
    module = importlib.import_module("bcc")
    assert "dist-packages" in str(Path(module.__file__ or "").resolve())


def test_readme_names_the_two_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make lab" in readme
    assert "make test" in readme


def test_ci_runs_make_test():
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
