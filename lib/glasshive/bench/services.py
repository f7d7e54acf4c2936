"""`bench services`, the programming part: 30,000 Services with 4 endpoints each, from JSON to the kernel's maps.

Beside it, in the same run: the same rows written with one bpf(2) per entry, as agents did before maps could be written
in batches. Then single EndpointSlice changes with all the others in place. `maglev` stands beside the paper's way of
filling a table. Nothing of a running cluster is touched: the maps are private.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from glasshive import bpf
from glasshive.agent import background
from glasshive.agent.config import objects_directory
from glasshive.agent.services.sources import VALUE, trim_service, trim_slice
from glasshive.bench import service_objects
from glasshive.bench.measure import Result, Sample, Series, compare
from glasshive.errors import PermissionNeededError
from glasshive.maps.services import NAMES, ServiceMaps
from glasshive.model.address import parse
from glasshive.model.service import EndpointSlice, Place, Service, ServiceRef
from glasshive.service.desired import desired
from glasshive.service.maglev import table
from glasshive.service.settings import NodeView, ServiceSettings, seed_of
from glasshive.service.sync import ServiceSync

SERVICES, QUICK_SERVICES = 30_000, 2_000
CHANGES = 400
GOAL_WRITING_S, GOAL_WHOLE_S, GOAL_CHANGE_MS, GOAL_MAGLEV_MS, GOAL_MOVED = 0.3, 3.0, 1.5, 10.0, 0.005
MAGLEV_SIZE, MAGLEV_BACKENDS = 65_537, 1_000

Progress = Callable[[int, int], None]


@contextlib.contextmanager
def service_maps(services: int, endpoints: int = service_objects.ENDPOINTS) -> Iterator[ServiceMaps | None]:
    """Private kernel maps with room for so much; None without the permission to make any."""
    try:
        bpf.mount_bpffs()
        pins = Path(tempfile.mkdtemp(prefix="glasshive-bench-", dir="/sys/fs/bpf"))
    except (PermissionNeededError, PermissionError):
        yield None
        return
    try:
        spec = bpf.ObjectSpec.open(objects_directory() / "host.bpf.o")
        backends = services * endpoints
        for name, entries in (("frontends", services), ("backends", backends), ("backend_slots", 2 * backends)):
            spec.maps[name].max_entries = max(spec.maps[name].max_entries, entries + 1024)
        with spec.load(pins=pins) as loaded:
            yield ServiceMaps({name: loaded.maps[name] for name in NAMES if name in loaded.maps})
    finally:
        for path in pins.iterdir():
            path.unlink()
        pins.rmdir()


class Timed:
    """The kernel's maps, with a watch: how long writing takes, and what is written."""

    def __init__(self, maps: ServiceMaps) -> None:
        self._maps = maps
        self.limits = maps.limits
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._maps, name)

        def timed(*args: Any) -> Any:
            began = time.perf_counter()
            result = found(*args)
            self.seconds += time.perf_counter() - began
            return result

        return timed if name.startswith(("put_", "delete_")) else found


def bench(*, rounds: int, quick: bool, progress: Progress) -> Iterator[Result]:
    """All of it."""
    count = QUICK_SERVICES if quick else SERVICES
    yield from programming(count, rounds=rounds, progress=progress)
    yield maglev(rounds=rounds)


def programming(count: int, *, rounds: int, progress: Progress) -> Iterator[Result]:
    """Everything at once, and single changes."""
    background.collect_rarely()
    told = orjson.dumps(list(service_objects.services(count))), orjson.dumps(list(service_objects.slices(count)))
    whole = Series("objects in JSON to tables", lower_is_better=True)
    writing = Series("of this, writing maps", lower_is_better=True)
    single = Series("writing maps, one bpf(2) per frontend", lower_is_better=True)
    changes: list[float] = []
    for turn in range(rounds):
        with service_maps(count) as maps:
            if maps is None:
                return
            kernel = Timed(maps)
            gc.collect()
            began, cpu = time.perf_counter(), time.process_time()
            sync, known = _program(kernel, *told)
            whole.samples.append(Sample(time.perf_counter() - began, time.process_time() - cpu, 1.0))
            writing.samples.append(Sample(kernel.seconds))
            if not turn:
                changes = _changes(sync, known, count)
            single.samples.append(Sample(_one_by_one(maps)))
        progress(turn + 1, rounds)
    title = f"services: {count:,} x {service_objects.ENDPOINTS} endpoints programmed"
    result = Result(title, "s")
    result.series = [whole, writing, single]
    result.ratios = [compare(writing, single)]
    result.facts = {
        f"goal for {SERVICES:,}": f"{GOAL_WRITING_S} s of writing, {GOAL_WHOLE_S:g} s in all",
        "reached": writing.best <= GOAL_WRITING_S and whole.best <= GOAL_WHOLE_S,
    }
    yield result
    yield _change_result(changes, count)


def _program(kernel: Any, services: bytes, slices: bytes) -> tuple[ServiceSync, dict[ServiceRef, Service]]:
    """What an agent does with the first lists, from the decoder on."""
    settings, node = ServiceSettings(), NodeView("node1")
    sync = ServiceSync(kernel, settings)
    known: dict[ServiceRef, Service] = {}
    parts: dict[ServiceRef, EndpointSlice] = {}
    for obj in orjson.loads(services):
        service = trim_service(obj)[VALUE]
        known[service.ref] = service
    for obj in orjson.loads(slices):
        part = trim_slice(obj)[VALUE]
        parts[part.service] = part
    for ref, service in known.items():
        sync.book.set(ref, desired(service, (parts[ref],), node, settings))
    sync.resync()
    return sync, known


def _changes(sync: ServiceSync, known: dict[ServiceRef, Service], count: int) -> list[float]:
    """Seconds from a decoded watch event to written tables: one endpoint of a Service is another."""
    settings, node, found = ServiceSettings(), NodeView("node1"), []
    step = max(count // CHANGES, 1)
    for turn in range(CHANGES):
        number = turn * step % count
        first = number * service_objects.ENDPOINTS + 256
        ends = [service_objects.endpoint_ip(first + at) for at in range(service_objects.ENDPOINTS - 1)]
        obj = service_objects.slice_of(number, [*ends, f"10.255.{turn >> 8}.{turn & 255}"])
        began = time.perf_counter()
        part = trim_slice(obj)[VALUE]
        sync.book.set(part.service, desired(known[part.service], (part,), node, settings))
        sync.flush()
        found.append(time.perf_counter() - began)
    return found


def _one_by_one(maps: ServiceMaps) -> float:
    """Seconds that the same frontends take with a system call each, by the quickest writer that there is."""
    from glasshive.maps.element import ElementWriter

    rows = [maps.packed(place, row) for place, row in maps.frontends().items()]
    writer = ElementWriter(maps.frontend_map)
    began = time.perf_counter()
    for key, value in rows:
        writer.put((key,), value)
    return time.perf_counter() - began


def _change_result(changes: list[float], count: int) -> Result:
    """The distribution as facts."""
    ordered = sorted(one * 1000 for one in changes)
    p99 = ordered[int(len(ordered) * 0.99)]
    result = Result(f"services: one EndpointSlice change among {count:,} services, in the agent", "ms")
    result.facts = {
        "p50 (ms)": statistics.median(ordered),
        "p99 (ms)": p99,
        "goal": f"{GOAL_CHANGE_MS} ms",
        "reached": p99 <= GOAL_CHANGE_MS,
    }
    return result


def maglev(*, rounds: int) -> Result:
    """One large table, beside the paper's way of filling it, and how much each moves when 1 % of backends go."""
    members = [(Place(parse(service_objects.endpoint_ip(at)), service_objects.TARGET, 6), 1)
               for at in range(MAGLEV_BACKENDS)]  # fmt: skip
    seed = seed_of(ServiceSettings().hash_seed)
    gone = set(np.random.default_rng(1).choice(MAGLEV_BACKENDS, MAGLEV_BACKENDS // 100, replace=False).tolist())
    kept = [one for at, one in enumerate(members) if at not in gone]
    ours = Series("whole arrays", lower_is_better=True)
    plain = Series("slot by slot, as in the paper (Python)", lower_is_better=True)
    for _ in range(max(rounds, 3) * 3):
        ours.samples.append(_timed(lambda: table(members, MAGLEV_SIZE, seed)))
        plain.samples.append(_timed(lambda: papers_table(members, MAGLEV_SIZE)))
    result = Result(f"maglev: {MAGLEV_SIZE:,} slots for {MAGLEV_BACKENDS:,} backends", "ms")
    result.series, result.ratios = [ours, plain], [compare(ours, plain)]
    moved = _moved(members, table(members, MAGLEV_SIZE, seed), kept, table(kept, MAGLEV_SIZE, seed))
    papers = _moved(members, papers_table(members, MAGLEV_SIZE), kept, papers_table(kept, MAGLEV_SIZE))
    result.facts = {
        "goal": f"{GOAL_MAGLEV_MS:g} ms; {GOAL_MOVED:.1%} of the slots move besides those that must when 1 % go",
        "moved besides those that must (%)": 100 * moved,
        "the paper's way (%)": 100 * papers,
        "reached": ours.best <= GOAL_MAGLEV_MS and moved <= GOAL_MOVED,
    }
    return result


def papers_table(members: list[tuple[Place, int]], size: int) -> Any:
    """Populate of the Maglev paper, 3.4: in its turn each backend takes the next free slot of its list."""
    starts = [(hash((place, 1)) % size, hash((place, 2)) % (size - 1) + 1) for place, _ in members]
    at = [offset for offset, _ in starts]
    found = [-1] * size
    left = size
    while True:
        for member, (_, skip) in enumerate(starts):
            slot = at[member]
            while found[slot] >= 0:
                slot = (slot + skip) % size
            found[slot] = member
            at[member] = (slot + skip) % size
            left -= 1
            if not left:
                return np.array(found)


def _moved(before: list[Any], first: Any, after: list[Any], second: Any) -> float:
    """The part of slots that moved though their backend stayed."""
    index = {one: at for at, one in enumerate(before)}
    now = np.array([index[one] for one in after])[second]
    stays = np.isin(first, [index[one] for one in after])
    return float(((first != now) & stays).mean())


def _timed(work: Callable[[], Any]) -> Sample:
    began = time.perf_counter()
    work()
    return Sample((time.perf_counter() - began) * 1000)
