"""What this machine can do, found out by trying it, never by a version number.

``machine()`` gives every finding; ``require("attach:tcx|attach:clsact", "link:veth")`` raises CapabilityError with the
capability, the observation and the way to mend it. Attempts run in a child process with namespaces of its own
(``attempts/``); answers are kept for this boot (``cache``). ``glasshive.bpf.doctor`` turns findings into advice.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

from glasshive.errors import CapabilityError

from . import cache, mend, tools
from .finding import Answer, Finding, Machine, alternatives

__all__ = ["Answer", "Finding", "Machine", "alternatives", "machine", "require"]

_CHILD_SECONDS = 20.0
_MOST_CRASHES = 5
_CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from attempts.run import main; sys.exit(main(set(sys.argv[2:])))"


def machine(*, fresh: bool = False, path: Path | None = None) -> Machine:
    """Give what is known about this machine, probing what is not kept from an earlier run (or all, if ``fresh``)."""
    where = path or cache.default_path()
    kept = None if fresh else cache.load(where)
    kernel = kept.kernel if kept else probe_kernel()
    before = kept.tools if kept else {}
    found = tools.probe_tools(before)
    if kept is None or found != before:
        cache.save(where, kernel, found)
    everything = [*kernel, *(finding for _, finding in found.values()), *tools.probe_modules(), *tools.probe_limits()]
    return Machine(platform.release(), {one.capability: one for one in everything}, cached=kept is not None)


def require(*needs: str, what: str = "this") -> None:
    """Raise CapabilityError unless every need is met; ``what`` names the thing that needs them."""
    here = machine()
    for need in here.missing(needs):
        found = here.why(need)
        raise CapabilityError(f"{what} needs {need}, which this machine lacks: {found}", hint=mend.advice(need))


def probe_kernel() -> list[Finding]:
    """Run every attempt in child processes.

    A child that dies takes only the attempt it was at with it: that one is inconclusive, and a new child does the rest.
    """
    found: dict[str, Finding] = {}
    for _ in range(_MOST_CRASHES):
        pending = _run_child(found)
        if pending is None:
            break
        found[pending] = Finding(pending, Answer.INCONCLUSIVE, "the process that tried it died or hung")
    return list(found.values())


def _run_child(found: dict[str, Finding]) -> str | None:
    """Run one child, add its findings, and name the attempt it died at (None: it finished)."""
    # A new interpreter, not a fork: the caller may be a notebook kernel with many threads.
    command = [sys.executable, "-S", "-I", "-B", "-c", _CHILD, str(Path(__file__).parent), *found]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CHILD_SECONDS, check=False)
        output, finished = done.stdout, done.returncode == 0
        trouble = done.stderr.strip().splitlines()[-1:]
    except OSError as error:
        raise CapabilityError(f"the kernel probe could not be started: {error}", hint="check who may run it") from None
    except subprocess.TimeoutExpired as late:
        raw = late.stdout or b""
        output, finished = raw.decode() if isinstance(raw, bytes) else raw, False
        trouble = ["no answer in time"]
    pending: str | None = None
    for line in output.splitlines():
        row = json.loads(line)
        if "begin" in row:
            pending = str(row["begin"])
            continue
        found[row["capability"]] = Finding(row["capability"], Answer(row["answer"]), row["reason"], row["took_ms"])
        pending = None
    if not finished and pending is None:
        said = " ".join(trouble) or "no output"
        raise CapabilityError(f"the kernel probe could not run: {said}", hint=f"try: {sys.executable} -S -I -c pass")
    return None if finished else pending
