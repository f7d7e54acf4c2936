"""``labs/labs.toml``: which labs there are. Pure reading; a mistake in the file is named with lab and key."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from glasshive.bpf.doctor import Wanted
from glasshive.errors import ManifestError, NotFoundError


@dataclass(frozen=True)
class LabEntry:
    """One lab of the manifest; fields as explained at the head of ``labs.toml``. ``folder`` is where labs lie."""

    id: str
    topic: str
    title: str
    goal: str
    minutes: int
    domain: str
    objectives: tuple[str, ...]
    needs: tuple[str, ...]
    better: tuple[str, ...]
    backends: tuple[str, ...]
    tier: int
    nodes: int
    folder: Path
    topology: str = ""

    @property
    def name(self) -> str:
        """The name of its files: ``00_tour``."""
        return f"{self.id}_{self.topic}"

    @property
    def source(self) -> Path:
        """What the author writes."""
        return self.folder / "src" / f"{self.name}.py"

    @property
    def notebook(self) -> Path:
        """What a learner opens; generated."""
        return self.folder / f"{self.name}.ipynb"

    @property
    def solution(self) -> Path:
        """The notebook with its exercises solved; generated."""
        return self.folder / "solutions" / f"{self.name}.ipynb"

    @property
    def cluster_file(self) -> Path:
        """What its own cluster is made of, if it has a ``topology``."""
        return self.folder / "topologies" / f"{self.topology}.yaml"

    def wanted(self) -> Wanted:
        """Put it as the doctor asks for it."""
        return Wanted("lab", f"{self.id} {self.title}", self.needs, self.better)


_TYPES: dict[str, type] = {
    "id": str, "topic": str, "title": str, "goal": str, "minutes": int, "domain": str, "objectives": list,
    "needs": list, "better": list, "backends": list, "tier": int, "nodes": int, "topology": str,
}  # fmt: skip
_OPTIONAL = {"topology"}


def labs_folder() -> Path:
    """Find ``labs/``: GLASSHIVE_LABS, the checkout this package lies in, or the working folder and those above it."""
    given = os.environ.get("GLASSHIVE_LABS")
    beside = Path(__file__).resolve().parents[3] / "labs"
    above = [folder / "labs" for folder in (Path.cwd(), *Path.cwd().parents)]
    for folder in [Path(given)] if given else [beside, *above]:
        if (folder / "labs.toml").is_file():
            return folder
    raise NotFoundError("there is no labs.toml", hint=f"set GLASSHIVE_LABS; looked in {given or beside}")


def read_labs(folder: Path | None = None) -> list[LabEntry]:
    """Read the manifest, in its order. Raises ManifestError naming lab and key."""
    where = (folder or labs_folder()) / "labs.toml"
    try:
        content = tomllib.loads(where.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as trouble:
        raise ManifestError(f"{where} is not TOML: {trouble}") from trouble
    unknown = set(content) - {"lab"}
    if unknown:
        raise ManifestError(f"{where}: unknown key {min(unknown)!r}", hint="allowed: [[lab]]")
    labs = [_entry(where, row) for row in content.get("lab", [])]
    for one in labs:
        if sum(other.id == one.id for other in labs) > 1:
            raise ManifestError(f"{where}: two labs have the id {one.id!r}")
    return labs


def find_lab(wanted: str, folder: Path | None = None) -> LabEntry:
    """Find a lab by its number (``1`` and ``01`` are one), topic or name.

    NotFoundError for an unknown one, with the topics that look like it, or else with the numbers that there are.
    """
    labs = read_labs(folder)
    for one in labs:
        if wanted in {one.id, one.topic, one.name} or (wanted.isdigit() and wanted.zfill(2) == one.id):
            return one
    topics = [] if wanted[:2].isdigit() else [one.topic for one in labs]
    holding = [one for one in topics if len(wanted) > 2 and wanted in one]
    near = holding or difflib.get_close_matches(wanted, topics, 3, 0.4)
    known = f"there are {_in_ranges([one.id for one in labs])}; glasshive lab list says what they are about"
    raise NotFoundError(f"there is no lab {wanted!r}", hint=f"near it: {', '.join(near)}" if near else known)


def _in_ranges(ids: Sequence[str]) -> str:
    """Numbers in order as people say them: ``00 to 04, 07``. Pure."""
    runs: list[list[str]] = []
    for one in ids:
        if runs and int(one) == int(runs[-1][-1]) + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _entry(where: Path, row: dict[str, Any]) -> LabEntry:
    name = row.get("id", "?")
    for key in row:
        if key not in _TYPES:
            near = difflib.get_close_matches(key, _TYPES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(_TYPES)}"
            raise ManifestError(f"{where}: lab {name}: unknown key {key!r}", hint=hint)
    for key, kind in _TYPES.items():
        if key not in row and key in _OPTIONAL:
            continue
        if key not in row:
            raise ManifestError(f"{where}: lab {name}: {key} is missing")
        if not isinstance(row[key], kind):
            raise ManifestError(f"{where}: lab {name}: {key} is {row[key]!r}, not {_SAID[kind]}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    made = LabEntry(**values, folder=where.parent)
    if made.topology and not made.cluster_file.is_file():
        raise ManifestError(f"{where}: lab {name}: topology {made.topology!r}: there is no {made.cluster_file}")
    return made


_SAID = {str: "text", int: "a whole number", list: "a list"}
assert {field.name for field in fields(LabEntry)} == {*_TYPES, "folder"}
