"""`bench policy`, the computing part: an identity joins 10,000 rules and 10,000 identities, to the rows in kernel maps.

Beside it, in the same run: the whole computed again from scratch (by the same engine with all its indexes, which is
kind to the peer), and the plain way of asking every rule whether it means the newcomer. CPU time is that of this
thread: on a busy machine the wall clock also counts others' work.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from glasshive.agent.policy.kernel_rows import KernelRows
from glasshive.bench.measure import Result, Sample, Series, compare
from glasshive.bench.policy_memory import memory_result, policy_maps
from glasshive.model.identity import Identity
from glasshive.model.labels import Label, Labels
from glasshive.model.policy import (
    Action,
    DefaultDeny,
    Direction,
    LabelPeer,
    Match,
    ObjectRef,
    PolicyObject,
    Ports,
    Rule,
    RuleOrigin,
    Subject,
    SubjectKind,
)
from glasshive.policy.delta import Delta, PutPeers, PutPorts
from glasshive.policy.engine import Change, Engine, PutIdentity, PutObject, PutSubject, RemoveIdentity
from glasshive.policy.resolve import SubjectFacts

NAMESPACES, APPS, TIERS = 100, 100, 10
RULES_EACH = 100
GOAL_P50_MS, GOAL_P99_MS, GOAL_RESCAN, GOAL_WHOLE_SECONDS = 0.25, 5.0, 500.0, 2.0


class World(NamedTuple):
    """What the engine is told."""

    identities: list[Identity]
    objects: list[PolicyObject]
    subjects: list[PutSubject]

    def changes(self) -> list[Change]:
        """All of it."""
        return [*map(PutIdentity, self.identities), *map(PutObject, self.objects), *self.subjects]


def labels(namespace: int, app: int) -> Labels:
    """A pod's security labels, as many as real ones have."""
    pairs = {
        "io.kubernetes.pod.namespace": f"ns{namespace}",
        "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": f"ns{namespace}",
        "io.cilium.k8s.policy.cluster": "default",
        "io.cilium.k8s.policy.serviceaccount": "default",
        "app": f"app{app}",
        "tier": f"tier{app % TIERS}",
    }
    return Labels.of([Label("k8s", key, value) for key, value in pairs.items()])


def world(rules: int, identities: int, *, seed: int = 1) -> World:
    """``rules`` in objects of 100, each for an endpoint of its own; one rule in ten means a tier, the others an app."""
    draw = random.Random(seed)  # noqa: S311 - the same world in every run
    everyone = [Identity(256 + at, labels(at // APPS, at % APPS)) for at in range(identities)]
    objects = [_object(at, draw) for at in range(rules // RULES_EACH)]
    subjects = [PutSubject(at, SubjectFacts(labels(at, 0))) for at in range(len(objects))]
    return World(everyone, objects, subjects)


def _object(at: int, draw: random.Random) -> PolicyObject:
    ref = ObjectRef("CiliumNetworkPolicy", f"ns{at}", f"policy{at}")
    subject = Subject(SubjectKind.ENDPOINT, _means(at, "app", "app0"))
    rules = []
    for index in range(RULES_EACH):
        namespace = draw.randrange(NAMESPACES)
        key, value = (
            ("tier", f"tier{draw.randrange(TIERS)}") if index % 10 == 0 else ("app", f"app{draw.randrange(APPS)}")
        )
        peer, ports = LabelPeer(_means(namespace, key, value)), Ports(6, 1000 + index, 1000 + index)
        origin = RuleOrigin(ref, "ingress", index)
        rules.append(Rule(origin, subject, Direction.INGRESS, Action.ALLOW, (peer,), (ports,)))
    return PolicyObject(ref, tuple(rules), (DefaultDeny(ref, subject, Direction.INGRESS),))


def _means(namespace: int, key: str, value: str) -> tuple[Match, ...]:
    return (
        Match("k8s", "io.kubernetes.pod.namespace", "in", frozenset((f"ns{namespace}",))),
        Match("any", key, "in", frozenset((value,))),
    )


def write(rows: KernelRows | None, delta: Delta) -> int:
    """Put a delta's rows into the maps; how many."""
    written = 0
    for step in delta.steps():
        if isinstance(step, PutPorts | PutPeers):
            written += len(step.rows)
            if rows is not None:
                (rows.put_ports if isinstance(step, PutPorts) else rows.put_peers)(step.rows)  # type: ignore[arg-type]
    return written


def joins(told: World, count: int, rows: KernelRows | None) -> tuple[list[float], list[float], float]:
    """Wall and CPU milliseconds of ``count`` joins, sorted, and the rows that one writes on average."""
    engine = Engine()
    write(rows, engine.apply(*told.changes()))
    gc.collect()
    gc.freeze()
    wall, cpu, written = [], [], 0
    try:
        for one in random.Random(2).sample(told.identities, count):  # noqa: S311 - the same in every run
            gone = engine.apply(RemoveIdentity(one.number)).gone
            if rows is not None:
                rows.drop_peers([change.key for change in gone])
            began = time.perf_counter(), time.thread_time()
            written += write(rows, engine.apply(PutIdentity(one)))
            wall.append((time.perf_counter() - began[0]) * 1e3)
            cpu.append((time.thread_time() - began[1]) * 1e3)
    finally:
        gc.unfreeze()
    return sorted(wall), sorted(cpu), written / count


def whole(told: World) -> tuple[float, float]:
    """Wall and CPU seconds of computing everything from nothing."""
    gc.collect()
    began = time.perf_counter(), time.thread_time()
    Engine().apply(*told.changes())
    return time.perf_counter() - began[0], time.thread_time() - began[1]


def plain(told: World, count: int) -> float:
    """CPU milliseconds of asking every rule in turn whether it means one identity: the least that no index can do."""
    peers = [peer for one in told.objects for rule in one.rules for peer in rule.peers or ()]
    took = []
    for one in told.identities[:count]:
        began = time.thread_time()
        for peer in peers:
            if isinstance(peer, LabelPeer):
                peer.selects(one.labels)
        took.append((time.thread_time() - began) * 1e3)
    return statistics.median(took)


def share(values: list[float], part: float) -> float:
    """The value below which this part of sorted values lies."""
    return values[min(len(values) - 1, int(len(values) * part))]


def join_result(*, rounds: int, quick: bool, progress: Callable[[int, int], None] | None) -> Result:
    """The join beside the recomputation."""
    told = world(NAMESPACES * RULES_EACH, NAMESPACES * APPS)
    joined = Series("identity joins, to the rows written (median)", lower_is_better=True)
    again = Series("everything computed again", lower_is_better=True)
    result = Result("policy: an identity joins 10,000 rules x 10,000 identities, 100 endpoints with policies", "ms")
    tails, tails_cpu, medians_cpu, wholes_cpu = [], [], [], []
    rescans = min(rounds, 3)
    with policy_maps() as maps:
        rows = KernelRows(maps) if maps is not None else None
        for turn in range(rescans):
            wall, cpu, average = joins(told, 500 if quick else 2_000, rows)
            seconds, seconds_cpu = whole(told)
            joined.samples.append(Sample(share(wall, 0.5)))
            again.samples.append(Sample(seconds * 1e3))
            tails.append(share(wall, 0.99))
            tails_cpu.append(share(cpu, 0.99))
            medians_cpu.append(share(cpu, 0.5))
            wholes_cpu.append(seconds_cpu)
            if progress:
                progress(turn + 1, rescans)
    result.series = [joined, again]
    result.ratios = [compare(joined, again, goal=GOAL_RESCAN)]
    scan = plain(told, 3 if quick else 20)
    result.facts = {
        "rows written per join (mean)": average,
        "written to kernel maps": "yes" if rows is not None else "no: no permission",
        "join p50 of CPU time (ms, best round)": min(medians_cpu),
        "join p99 (ms, best round)": min(tails),
        "join p99 of CPU time (ms, best round)": min(tails_cpu),
        "goal: p50 at most 0.25 ms": _reached(joined.best <= GOAL_P50_MS),
        "goal: p99 at most 5 ms": _reached(min(tails) <= GOAL_P99_MS),
        "everything computed again (CPU seconds, best round)": min(wholes_cpu),
        "goal: everything in less than 2 s": _reached(again.best < GOAL_WHOLE_SECONDS * 1e3),
        "asking 10,000 rules in turn about one identity (CPU ms, nothing resolved)": scan,
    }
    return result


def bench(*, rounds: int, quick: bool, progress: Callable[[int, int], None] | None = None) -> Iterator[Result]:
    """The join, then the memory."""
    yield join_result(rounds=rounds, quick=quick, progress=progress)
    memory = memory_result()
    if memory is not None:
        yield memory


def _reached(yes: bool) -> str:
    return "reached" if yes else "NOT reached"
