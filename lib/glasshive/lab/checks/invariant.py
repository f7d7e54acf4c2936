"""Checks that nothing else was broken: what worked before the task still works, what was there is still there."""

from __future__ import annotations

from collections.abc import Sequence

from glasshive.lab.checks import probe
from glasshive.lab.checks.outcome import judged
from glasshive.lab.checks.probe import Probe
from glasshive.lab.grading.reader import ClusterReader
from glasshive.model.check_result import CheckResult


def still_answered(reader: ClusterReader, probes: Sequence[Probe], *, why: str = "", read: str = "") -> CheckResult:
    """Probes that are not the task's business are answered as before. State: ``broken``."""
    told = why or "mending one thing must not break another: these worked before you began"
    return probe.allowed(reader, probes, why=told, read=read, state="broken")


def pods_are(reader: ClusterReader, names: Sequence[str], *, why: str = "", read: str = "") -> CheckResult:
    """The lab has exactly these pods, all ready. States: ``missing``, ``too-many``, ``not-ready``."""
    pods = {one.name: one for one in reader.pods()}
    missing, more = sorted({*names} - {*pods}), sorted({*pods} - {*names})
    waiting = sorted(one.name for one in pods.values() if not one.ready and one.name in names)
    told = [f"{', '.join(missing)} missing"] if missing else []
    told += [f"{', '.join(more)} besides"] if more else []
    told += [f"{', '.join(waiting)} not ready"] if waiting else []
    wanted = f"exactly the pods {', '.join(sorted(names))}, all ready"
    state = "missing" if missing else "too-many" if more else "not-ready"
    return judged(
        not told,
        "; ".join(told) or wanted,
        wanted,
        why=why,
        read=read,
        state=state,
        moving=bool(waiting) or any(pods[name].state == "Terminating" for name in more),
    )
