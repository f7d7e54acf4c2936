"""``glasshive bench labs``: how long checks take, measured while the matrix asks the grader's process.

Every state of the matrix counts: pristine, solved and wrong ones, as learners ask in all of them.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence

from glasshive.bench.measure import Result
from glasshive.cluster import Cluster
from glasshive.errors import CapabilityError
from glasshive.lab.grading.client import GraderClient
from glasshive.lab.grading.score import LabResult
from glasshive.lab.manifest import LabEntry, read_labs
from glasshive.lab.prove import Case, prove
from glasshive.lab.tasks import tasks_of
from glasshive.model.check_result import CheckResult, Verdict

NAME = "labs"


class Timed:
    """A grader whose answers are timed, from the question to the answer."""

    def __init__(self, client: GraderClient) -> None:
        self._client = client
        self.asked_s: list[float] = []
        self.looked_s: list[float] = []

    def check(self, wanted: Sequence[str] = (), *, within_s: float | None = None) -> LabResult:
        """Ask, and keep how long the whole answer and each check in it took."""
        began = time.monotonic()
        result = self._client.check(wanted, within_s=within_s)
        self.asked_s.append(time.monotonic() - began)
        checks = [one for task in result.tasks for one in task.checks if one.result.verdict is not Verdict.SKIPPED]
        self.looked_s += [one.seconds for one in checks]
        return result

    def ready(self, wanted: str) -> CheckResult:
        """Pass the question on."""
        return self._client.ready(wanted)


def bench(*, quick: bool, progress: Callable[[int, int], None]) -> Result:
    """Work the matrix through for every lab with tasks that this machine can run, on a cluster of its own."""
    from glasshive.bpf import probe

    machine = probe.machine()
    entries = [one for one in read_labs() if tasks_of(one.topic) and not machine.missing(one.needs)]
    if not entries:
        raise CapabilityError("no lab with tasks runs on this machine", hint="glasshive doctor")
    seeds = range(1 if quick else 5)
    timers: list[Timed] = []
    cases: list[Case] = []
    began = time.monotonic()
    with Cluster(f"bench-labs-{os.getpid()}", nodes=max(one.nodes for one in entries)) as cluster:
        for number, entry in enumerate(entries, 1):
            client = GraderClient(cluster, entry)
            client.warm()
            timers.append(Timed(client))
            cases += prove(cluster, entry, seeds, desk=timers[-1])
            client.end()
            progress(number, len(entries))
    return _result(entries, cases, timers, time.monotonic() - began)


def _result(entries: Sequence[LabEntry], cases: Sequence[Case], timers: Sequence[Timed], seconds: float) -> Result:
    looked = sorted(one for timer in timers for one in timer.looked_s)
    asked = sorted(one for timer in timers for one in timer.asked_s)
    mutants = [one for one in cases if one.name.startswith("mutant")]
    return Result(
        "Labs: checks asked of the grader's process, in every state of the matrix",
        "s",
        facts={
            "labs": ", ".join(one.id for one in entries),
            "checks made": len(looked),
            "check median s": round(statistics.median(looked), 3),
            "check p99 s": round(looked[int(len(looked) * 0.99)], 3),
            "lab.check() median s": round(statistics.median(asked), 3),
            "lab.check() p99 s": round(asked[int(len(asked) * 0.99)], 3),
            "mutants caught": f"{sum(1 for one in mutants if not one.trouble)} of {len(mutants)}",
            "cases as they should be": f"{sum(1 for one in cases if not one.trouble)} of {len(cases)}",
            "matrix s": round(seconds, 1),
            **{f"trouble {number}": str(one) for number, one in enumerate((c for c in cases if c.trouble), 1)},
        },
    )
