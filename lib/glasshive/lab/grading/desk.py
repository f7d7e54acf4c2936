"""Where checks are asked for: one lab on one cluster. Answers questions about the real state, and knows nobody's past.

The notebook, the command line and the panel ask the same desk, which stands in the grader's process (``process``).
"""

from __future__ import annotations

from collections.abc import Sequence

from glasshive.cluster import Cluster
from glasshive.lab.grading import grade as grading
from glasshive.lab.grading import marks
from glasshive.lab.grading.reader import ClusterReader
from glasshive.lab.grading.score import LabResult, TaskResult
from glasshive.lab.manifest import LabEntry
from glasshive.lab.task import LONGEST_SECONDS
from glasshive.lab.tasks import task_of, tasks_of
from glasshive.model.check_result import CheckResult


class Desk:
    """Grades the tasks of one lab."""

    def __init__(self, cluster: Cluster, entry: LabEntry) -> None:
        self.entry = entry
        self.tasks = tasks_of(entry.topic)
        self.reader = ClusterReader(cluster, f"lab-{entry.id}")

    def check(self, wanted: Sequence[str] = (), *, within_s: float | None = None) -> LabResult:
        """Grade the tasks named, or all. Raises NotFoundError for a task that the lab does not have."""
        names = [task_of(self.entry.topic, name).id for name in wanted] or [one.id for one in self.tasks]
        namespace = self.reader.get("namespace", self.reader.namespace)
        seed, begun = marks.seed_of(namespace) or 0, marks.begun_in(namespace)
        results: dict[str, TaskResult] = {}
        for task in grading.in_order(self.tasks, names):
            results[task.id] = grading.grade(
                self.reader, task, seed, parents=results, begun=task.id in begun, within_s=within_s
            )
        return LabResult(self.entry.id, tuple(results[name] for name in names))

    def ready(self, wanted: str) -> CheckResult:
        """Whether what a task starts from is really there."""
        task = task_of(self.entry.topic, wanted)
        assert task.ready is not None
        seed = marks.seed_of(self.reader.get("namespace", self.reader.namespace)) or 0
        return grading.look(self.reader, task.ready, task.given(seed), LONGEST_SECONDS)
