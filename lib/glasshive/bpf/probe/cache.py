"""Where answers are kept between runs.

Kernel answers hold for one boot of one kernel, one version of this package and one user; any other key, a damaged file
or a file that somebody else could have written means: probe again. The file has mode 0600.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glasshive import __version__

from .finding import Answer, Finding

_SCHEMA = 1


@dataclass(frozen=True)
class Kept:
    """What a cache file held: kernel findings, and per tool (state of its file, finding)."""

    kernel: list[Finding]
    tools: dict[str, tuple[str, Finding]]


def default_path() -> Path:
    """Give the cache file of this user."""
    if os.geteuid() == 0:
        return Path("/var/cache/glasshive/probe.json")
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "glasshive" / "probe.json"


def key() -> str:
    """Name the boot, kernel, package version and rights that answers hold for."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    held = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "?")
    return f"{boot} {platform.release()} {__version__} {os.geteuid()} {held} {_attempts_mark()} {_SCHEMA}"


def _attempts_mark() -> str:
    """Name the state of the attempts' own source, so that editing a probe is enough to have it run."""
    folder = Path(__file__).parent / "attempts"
    return str(max(source.stat().st_mtime_ns for source in folder.glob("*.py")))


def load(path: Path) -> Kept | None:
    """Read what was kept; None if there is nothing usable."""
    try:
        if path.stat().st_uid != os.geteuid():
            return None
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["key"] != key():
            return None
        tools = {name: (mark, _finding(row)) for name, (mark, row) in held["tools"].items()}
        return Kept([_finding(row) for row in held["kernel"]], tools)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(path: Path, kernel: list[Finding], tools: Mapping[str, tuple[str, Finding]]) -> None:
    """Keep answers, atomically. A place that cannot be written is no reason to fail: the next run probes again."""
    held = {
        "key": key(),
        "kernel": [asdict(one) for one in kernel],
        "tools": {name: (mark, asdict(one)) for name, (mark, one) in tools.items()},
    }
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=".probe-")  # mkstemp files have mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            json.dump(held, handle)
        Path(scratch).replace(path)


def _finding(row: dict[str, Any]) -> Finding:
    return Finding(str(row["capability"]), Answer(row["answer"]), str(row["reason"]), float(row["took_ms"]))
