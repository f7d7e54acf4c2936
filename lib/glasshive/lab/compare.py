"""Whether committed notebooks still show what they show: nbval, strictly, with the library's own sanitising table."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from glasshive.errors import GlasshiveError
from glasshive.lab.execute import CELL_SECONDS, environment
from glasshive.lab.sanitize import nbval_file

NOTEBOOK_SECONDS = 300.0


class Compared(NamedTuple):
    """What nbval found of one notebook; ``said`` is about cells that differ, '' if none does."""

    same: bool
    cells: int
    seconds: float
    said: str


def compare(notebooks: Sequence[Path], *, cluster: str) -> dict[Path, Compared]:
    """Run notebooks under nbval, one after the other, and tell of each whether it shows what is committed.

    One process for all of them, with a configuration of its own: see ``nbval_run``. Raises GlasshiveError when nbval
    itself fails.
    """
    with tempfile.TemporaryDirectory(prefix="gh-nbval-") as folder:
        table, settings, results = (Path(folder) / name for name in ("sanitize.cfg", "pytest.ini", "junit.xml"))
        table.write_text(nbval_file(), encoding="utf-8")
        settings.write_text("[pytest]\njunit_family = xunit1\n", encoding="ascii")
        root = os.path.commonpath([one.parent for one in notebooks])
        command = [
            sys.executable, "-m", "glasshive.lab.nbval_run", "-c", str(settings), "--rootdir", root,
            "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "--nbval-sanitize-with", str(table),
            "--nbval-cell-timeout", str(CELL_SECONDS), "-vv", "--no-header", "--color=no", f"--junitxml={results}",
            *map(str, notebooks),
        ]  # fmt: skip
        # A cluster of root's: what nbval would take from other plugins is not wanted here.
        variables = {**os.environ, **environment(cluster), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=NOTEBOOK_SECONDS * len(notebooks), check=False,
            cwd=root, env=variables,
        )  # fmt: skip
        if not results.exists():
            raise GlasshiveError(f"nbval did not run: {(done.stdout + done.stderr)[-2000:]}")
        cases = list(ElementTree.parse(results).getroot().iter("testcase"))  # noqa: S314 - pytest wrote it
        whole = done.stdout[-8000:]
    return {one: _of(cases, Path(root), one, whole) for one in notebooks}


def _of(cases: Sequence[ElementTree.Element], root: Path, notebook: Path, whole: str) -> Compared:
    mine = [case for case in cases if root / str(case.get("file")) == notebook]
    if not mine:
        return Compared(False, 0, 0.0, whole)
    troubles = [found for case in mine for kind in ("failure", "error") if (found := case.find(kind)) is not None]
    said = "\n".join((one.text or str(one.get("message"))) for one in troubles)
    return Compared(not troubles, len(mine), sum(float(case.get("time", 0)) for case in mine), said[-8000:])
