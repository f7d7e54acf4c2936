"""Whether a committed notebook still shows what it shows: nbval, strictly, with the library's own sanitising table."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from glasshive.lab.execute import CELL_SECONDS
from glasshive.lab.sanitize import nbval_file


def compare(notebook: Path, *, cluster: str, timeout_s: float = 600.0) -> tuple[bool, str]:
    """Run a notebook under nbval and give (same as committed, what nbval said).

    A process of its own, with a configuration of its own: nbval is a pytest plugin, and this may run inside pytest.
    """
    with tempfile.TemporaryDirectory(prefix="gh-nbval-") as folder:
        table = Path(folder) / "sanitize.cfg"
        table.write_text(nbval_file(), encoding="utf-8")
        settings = Path(folder) / "pytest.ini"
        settings.write_text("[pytest]\n", encoding="ascii")
        command = [
            sys.executable, "-m", "pytest", "-c", str(settings), "--rootdir", str(notebook.parent),
            "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "--nbval-sanitize-with", str(table),
            "--nbval-cell-timeout", str(CELL_SECONDS), "-q", "--no-header", "--color=no", str(notebook),
        ]  # fmt: skip
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=notebook.parent,
            env={**os.environ, "GLASSHIVE_CLUSTER": cluster, "GLASSHIVE_PROGRESS": "off"},
        )
    return done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
