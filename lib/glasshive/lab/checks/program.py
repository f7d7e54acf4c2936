"""Checks of programs that learners wrote: loaded, right about packets, attached, counting what really passed.

The program is found by its pin, and packets go through it by BPF_PROG_TEST_RUN: nothing of the learner's runs in the
grader, and its source is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glasshive.bpf import Map, inspect
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.lab.alone import alone
from glasshive.lab.checks.outcome import bad, good
from glasshive.lab.grading.reader import ClusterReader
from glasshive.lab.pinned import Pinned, folder_of
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    import numpy as np

Key = tuple[object, ...]
Counts = Mapping[Key, int]
"""A counting map: the values of the key's columns -> count."""
_KINDS = {"sched_cls": "a tc program", "xdp": "an XDP program"}


@dataclass(frozen=True)
class Row:
    """A packet of a packet table: what it is in words, the frame, the verdict wanted, the state a wrong one means."""

    told: str
    frame: bytes
    verdict: str
    state: str = "wrong-verdict"


@dataclass(frozen=True)
class Table:
    """A map that a task relies on: the fields of its key and value (none: a plain number), room for ``least`` entries.

    A check that reads a map of another layout could only err, and an error costs nothing: so the layout is looked at.
    """

    name: str
    key: tuple[str, ...] = ()
    value: tuple[str, ...] = ()
    least: int = 1

    def fits(self, found: Map) -> bool:
        """Whether a map is like that. Fields that only pad do not count."""
        layouts = ((found.key_dtype, self.key), (found.value_dtype, self.value))
        return found.max_entries >= self.least and all(_fields(kind) == wanted for kind, wanted in layouts)

    def __str__(self) -> str:
        key, value = (", ".join(one) or "a number" for one in (self.key, self.value))
        return f"{self.name} (key: {key}; value: {value}; at least {self.least} entries)"


def _fields(kind: np.dtype[Any]) -> tuple[str, ...] | None:
    if kind.names is not None:
        return tuple(name for name in kind.names if not name.startswith("pad"))
    return () if kind.kind in "iu" else None


def pinned(reader: ClusterReader, name: str) -> Pinned:
    """Find what is loaded under a name; ask ``.loaded`` whether it is."""
    return Pinned(folder_of(reader.cluster_name, reader.namespace) / name)


def undisturbed(reader: ClusterReader) -> AbstractContextManager[None]:
    """No other check that counts packets of this lab runs meanwhile. There must be a loaded program."""
    return alone(ClusterPaths(reader.cluster_name).run / "labs" / reader.namespace)


def loaded(
    reader: ClusterReader, name: str, parts: Mapping[str, str], *, maps: Sequence[Table] = (), read: str = ""
) -> CheckResult:
    """A program is in the kernel: its parts (C function -> type, such as ``sched_cls``) and its maps.

    States: ``absent``, ``other-parts``, ``no-map``, ``other-map``.
    """
    wanted = f"a program {name} in the kernel: " + ", ".join(f"{part}, {_KINDS[kind]}" for part, kind in parts.items())
    why = "only what the verifier has accepted is in the kernel"
    found = pinned(reader, name)
    if not found.loaded:
        return bad(f"no program {name} is loaded", wanted, why=why, read=read, state="absent")
    kinds = found.kinds()
    wrong = [part for part, kind in parts.items() if kinds.get(part) != kind]
    if wrong:
        told = ", ".join(f"{part} ({kind})" for part, kind in kinds.items())
        return bad(f"{name} has {told}", wanted, why="the section's name says which type it is", state="other-parts")
    for table in maps:
        if table.name not in found.maps:
            return bad(f"{name} has no map {table.name}", f"the map {table}", state="no-map")
        with found.open_map(table.name) as held:
            if not table.fits(held):
                told = f"the map {table.name} of {name} has another layout"
                why = "others read it too; a field that only pads is called pad"
                return bad(told, f"the map {table}", why=why, state="other-map")
    return good(f"{name} is loaded: {', '.join(parts)}")


def ruled(
    reader: ClusterReader, name: str, rows: Sequence[Row], *, part: str = "", why: str = "", **context: int
) -> CheckResult:
    """Every packet gets its verdict; ``context`` are fields of a tc program's context. States: those of the rows."""
    runs = pinned(reader, name).run_all([one.frame for one in rows], part, **context)
    wrong = [(row, ran) for row, ran in zip(rows, runs, strict=True) if ran.verdict != row.verdict]
    if wrong:
        told = "; ".join(f"{row.told}: {ran.verdict}" for row, ran in wrong[:3])
        wanted = "; ".join(f"{row.told}: {row.verdict}" for row, _ in wrong[:3])
        return bad(told, wanted, why=why, state=wrong[0][0].state)
    return good(f"{len(rows)} packets, each with its verdict: {'; '.join(row.told for row in rows)}")


def attached(reader: ClusterReader, name: str, wanted: Mapping[str, tuple[str, int]], *, why: str = "") -> CheckResult:
    """Programs of this name are at hooks: words -> (link's hook such as ``tcx_ingress`` or ``xdp``, ifindex).

    Any link of the machine counts, whoever made it. States: ``detached`` (none at all), ``elsewhere``.
    """
    found = pinned(reader, name)
    own = {}
    for part in found.programs:
        with found.program(part) as one:
            own[one.id] = part
    held = {(one.attach_type.lower(), one.ifindex) for one in inspect.links() if one.program_id in own}
    missing = [told for told, place in wanted.items() if place not in held]
    if not missing:
        return good(f"{name} is attached: {', '.join(wanted)}")
    there = ", ".join(sorted(f"{hook} of device {ifindex}" for hook, ifindex in held)) or "nowhere"
    return bad(
        f"{name} is attached {there if there == 'nowhere' else 'at ' + there}",
        f"attached: {', '.join(wanted)}",
        why=why,
        read="program.attach(place, hook)",
        state="elsewhere" if held else "detached",
    )


def counts(reader: ClusterReader, name: str, table: str) -> dict[Key, int]:
    """A counting map: values of the key's columns (all but ``value``) -> count. Per-CPU counts are summed."""
    found = {}
    for row in pinned(reader, name).rows(table):
        value = row.pop("value")
        found[tuple(row.values())] = int(value)
    return found


def grown(before: Counts, after: Counts) -> dict[Key, int]:
    """By how much each count has grown, those that have not left out."""
    return {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}


def counted(
    reader: ClusterReader,
    name: str,
    table: str,
    send: Callable[[], object],
    wanted: Counts,
    *,
    words: Callable[[Key], str],
    why: str = "",
) -> CheckResult:
    """Counts grow by exactly this while ``send`` sends. States: ``none`` (nothing grew), ``other-counts``."""
    with undisturbed(reader):
        before = counts(reader, name, table)
        send()
        found = grown(before, counts(reader, name, table))
    if found == dict(wanted):
        return good("; ".join(f"{words(key)}: {count} more, as sent" for key, count in wanted.items()))
    told = "; ".join(f"{words(key)}: {count} more" for key, count in found.items()) or "no count has grown"
    sent = "; ".join(f"{words(key)}: {count} more" for key, count in wanted.items())
    return bad(told, sent, why=why, state="other-counts" if found else "none")
