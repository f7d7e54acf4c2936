"""Runs inside the virtual machine: every ``check_*`` function of this folder; leaves the results as JSON."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


class Skip(Exception):  # noqa: N818 - an outcome, not an error
    """Raised by a check that this kernel cannot run."""


def prepare() -> None:
    for kind, where in (("bpf", "/sys/fs/bpf"), ("cgroup2", "/sys/fs/cgroup"), ("tracefs", "/sys/kernel/tracing"),
                        ("securityfs", "/sys/kernel/security")):  # fmt: skip
        subprocess.run(["mount", "-t", kind, kind, where], capture_output=True, check=False)
    subprocess.run(["ip", "link", "set", "lo", "up"], capture_output=True, check=False)


def run_one(check: Any, objects: Path) -> dict[str, str]:
    try:
        check(objects)
    except Skip as why:
        return {"outcome": "skipped", "text": str(why)}
    except Exception:  # noqa: BLE001 - the outcome of a check is reported, whatever it was
        return {"outcome": "failed", "text": traceback.format_exc()}
    return {"outcome": "passed", "text": ""}


def main() -> None:
    library, shared = sys.argv[1], Path(sys.argv[2])
    sys.path.insert(0, library)
    sys.modules["guest_run"] = sys.modules["__main__"]
    prepare()
    results: dict[str, dict[str, str]] = {}
    for source in sorted(Path(__file__).parent.glob("guest_*.py")):
        spec = importlib.util.spec_from_file_location(source.stem, source)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, check in vars(module).items():
            if name.startswith("check_"):
                results[f"{source.stem}::{name}"] = run_one(check, shared)
                print(source.stem, name, results[f"{source.stem}::{name}"]["outcome"], flush=True)
    fresh = shared / "results.new"
    fresh.write_text(json.dumps(results), encoding="utf-8")
    fresh.rename(shared / "results.json")


if __name__ == "__main__":
    main()
