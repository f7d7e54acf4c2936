"""Opening and closing a lab. ``Lab`` holds nothing that a restart of the notebook's kernel would lose.

Run the first cell again and go on: the cluster, the namespace with its seed, and the tasks that were begun are found.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import textwrap
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from glasshive.bpf import probe
from glasshive.cluster import Cluster
from glasshive.errors import ApiError, GlasshiveError, NotFoundError, UsageError
from glasshive.lab import clusters, components, enforcement
from glasshive.lab.grading import marks
from glasshive.lab.grading.client import GraderClient
from glasshive.lab.kit.diary import Diary
from glasshive.lab.kit.parts import Parts
from glasshive.lab.kit.policies import Policies
from glasshive.lab.kit.programs import Programs
from glasshive.lab.kit.traffic import Traffic
from glasshive.lab.kit.work import Asked, Work
from glasshive.lab.manifest import LabEntry, find_lab
from glasshive.lab.tasks import tasks_of

_HINTS = {0: 3, 1: 3, 2: 2, 3: 1}
"""How many tiers of hints are given, by how practised somebody is."""


class Lab(Work, Policies, Programs, Parts, Traffic):
    """A lab that has been prepared. Its pods live in a namespace of their own, ``lab-00`` and so on."""

    def __init__(self, entry: LabEntry, cluster: Cluster, desk: Asked | None = None) -> None:
        self.entry = entry
        self.cluster = cluster
        self.seed = 0
        self.without: tuple[str, ...] = ()
        self.base = ""
        self.namespace = f"lab-{entry.id}"
        self._own_grader = GraderClient(cluster, entry) if desk is None else None
        self._desk = desk or self._own_grader or GraderClient(cluster, entry)
        self.diary = Diary(entry.id, 0)
        self._drops_before = []
        self._restarts_before = {}
        self._views = []
        self._policy_seen = {}

    @classmethod
    def open(
        cls, wanted: str, *, cluster: str = "", seed: int | None = None, tier: int | None = None, backend: str = ""
    ) -> Lab:
        """Prepare a lab; see ``glasshive.lab``. Raises CapabilityError when this machine lacks something it needs."""
        entry = find_lab(wanted)
        if backend and backend not in entry.backends:
            raise UsageError(f"lab {entry.id} does not run on {backend!r}", hint=f"on {', '.join(entry.backends)}")
        if tier is not None and tier not in _HINTS:
            raise UsageError(f"there is no tier {tier}", hint=f"{min(_HINTS)} to {max(_HINTS)}")
        probe.require(*entry.needs, what=f"lab {entry.id}")
        name = cluster or os.environ.get("GLASSHIVE_CLUSTER", "lab")
        lab = cls.on(clusters.prepare(entry, name, backend), entry, seed, base=name)
        lab.most_hints = _HINTS[0 if tier is None else tier]
        if tasks_of(entry.topic):
            lab.warm()
        return lab

    @classmethod
    def on(
        cls, cluster: Cluster, entry: LabEntry, seed: int | None = None, desk: Asked | None = None, base: str = ""
    ) -> Lab:
        """Prepare a lab on a cluster that is up. ``desk``: who grades, a grader of its own if nobody is named.

        ``base``: the common cluster's name, see ``clusters``. With it, a reset takes down a cluster of the lab's own.
        """
        lab = cls(entry, cluster, desk)
        lab.base = base
        lab.without = tuple(probe.machine().missing(entry.better))
        namespace = lab._namespace()
        if not marks.begun_in(namespace):
            components.start_all(cluster)  # what a lab that was left in the middle had stopped; a task may need it so
        lab._restarts_before = {one.name: one.restarts for one in components.processes(cluster).values()}
        lab.seed = lab._settle_seed(seed, namespace)
        lab.diary = Diary(entry.id, lab.seed)
        if not [one for one in components.processes(cluster).values() if one.stopped]:
            lab.mark_drops()  # a node without an agent has no counters to tell: then drops are counted from the start
        return lab

    def __repr__(self) -> str:
        entry = self.entry
        without = f"does without {', '.join(self.without)}" if self.without else "has all it can use"
        config = self.cluster.config
        lines = [
            f"Lab {entry.id}: {entry.title} ({entry.minutes} minutes)",
            textwrap.fill(f"goal: {entry.goal}", 90, initial_indent="  ", subsequent_indent="    "),
            f"  this machine: {without}",
            f"  {config.nodes} nodes, {config.routing} routing, namespace {self.namespace}",
        ]
        return "\n".join([*lines, *self.diary.so_far()])

    def warm(self) -> None:
        """Start the grader in the background, so that the first check need not wait; it ends with this process."""
        grader = self._own_grader
        if grader is None:
            return

        def start() -> None:
            with contextlib.suppress(GlasshiveError):  # a check will say it, where it can be read
                grader.warm()

        threading.Thread(target=start, name="warm-grader", daemon=True).start()
        atexit.register(grader.end)

    def companion(self) -> Lab:
        """Give the same lab on the common cluster, brought up if need be: to compare a topology with the usual one."""
        if not self.entry.topology or not self.base:
            raise UsageError(f"lab {self.entry.id} is on the common cluster already")
        plain = replace(self.entry, topology="")
        return Lab.on(clusters.prepare(plain, self.base), plain, self.seed)

    def reset(self) -> str:
        """Remove everything this lab made, and end its grader; the common cluster stays for the next lab.

        A cluster of the lab's own is taken down. Pictures stay as they are, and are no longer kept fresh.
        """
        if self._own_grader is not None:
            self._own_grader.end()
        for view in self._views:
            view.rest()
        self._views.clear()
        self._policy_seen.clear()
        self._clear_programs()
        if self.entry.topology and self.base:
            self._reset_companion()
            self.cluster.down()
            self.diary.reset()
            return f"lab {self.entry.id} is as before: its own cluster is gone"
        components.start_all(self.cluster)  # first: some faults are healed through the API
        self.heal()
        enforcement.restore_mode(self.cluster, namespace=self.namespace)
        enforcement.delete(self.cluster, self.namespace, every_wide=bool(self.entry.topology))
        self.cluster.delete("namespace", self.namespace)
        self.cluster.wait("namespace", self.namespace, "deleted", namespace=None)
        self.diary.reset()
        return f"lab {self.entry.id} is as before: namespace {self.namespace} is gone"

    def _reset_companion(self) -> None:
        """Remove what this lab has made on the common cluster, before or after a restart of the notebook's kernel."""
        plain = replace(self.entry, topology="")
        with contextlib.suppress(NotFoundError):
            there = Lab(plain, clusters.find(plain, self.base))
            if there._namespace() is not None:
                there.reset()

    def _namespace(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.cluster.get("namespace", self.namespace, None)
        except ApiError as error:
            if error.code != 404:
                raise
            return None
        return found

    def _settle_seed(self, wanted: int | None, namespace: Mapping[str, Any] | None) -> int:
        """Make the namespace, or find the seed that an earlier run gave it."""
        if wanted is not None and not 0 <= wanted <= marks.MOST_SEED:
            raise UsageError(f"the seed {wanted} is not allowed", hint=f"0 to {marks.MOST_SEED}")
        held = marks.seed_of(namespace)
        if held is not None and wanted not in (None, held) and marks.begun_in(namespace):
            what = f"lab {self.entry.id} was begun with the seed {held}, and its tasks stand"
            raise UsageError(what, hint="open it without a seed to go on, or reset it first")
        seed = wanted if wanted is not None else held or int(os.environ.get("GLASSHIVE_SEED", "0"))
        self.cluster.apply(marks.namespace_object(self.namespace, seed, marks.begun_in(namespace)))
        return seed
