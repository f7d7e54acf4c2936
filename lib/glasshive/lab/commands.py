"""What ``glasshive lab ...`` does, as functions that say what they do through ``say`` and return an exit status."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from glasshive.bpf import doctor, probe
from glasshive.errors import GlasshiveError, NotFoundError
from glasshive.lab import build as building
from glasshive.lab import compare, headless, lint
from glasshive.lab.execute import execute
from glasshive.lab.manifest import LabEntry, find_lab, read_labs

Say = Callable[[str], None]
FORMS: tuple[building.Form, ...] = ("solved", "learner")


def chosen(ids: Sequence[str]) -> list[LabEntry]:
    """Give the labs named, or all."""
    return [find_lab(one) for one in ids] if ids else read_labs()


def list_labs() -> list[dict[str, Any]]:
    """Give every lab with what this machine says to it."""
    entries = read_labs()
    diagnoses = doctor.diagnose(probe.machine(), [entry.wanted() for entry in entries])
    return [
        {
            "id": entry.id,
            "title": entry.title,
            "minutes": entry.minutes,
            "domain": entry.domain,
            "tier": entry.tier,
            "state": diagnosis.state,
            "missing": [*diagnosis.missing, *diagnosis.unsure],
            "notebook": str(entry.notebook),
        }
        for entry, diagnosis in zip(entries, diagnoses, strict=True)
    ]


def build(ids: Sequence[str], *, cluster: str, say: Say) -> int:
    """Generate, run and write both notebooks of each lab. A lab that fails leaves its old files as they were."""
    from glasshive.cluster import Cluster, connect

    entries = chosen(ids)
    for entry in entries:
        for form in FORMS:
            building.generate(entry, form)  # mistakes in a source are told before anything is started
    try:
        connect(cluster)
        ours = None
    except NotFoundError:
        say(f"bringing up cluster {cluster}")
        ours = Cluster(cluster, nodes=max((entry.nodes for entry in entries), default=1)).up()
    failures = 0
    try:
        for entry in entries:
            failures += _build_one(entry, cluster, say)
    finally:
        if ours is not None:
            ours.down()
    return 1 if failures else 0


def _build_one(entry: LabEntry, cluster: str, say: Say) -> int:
    failures = 0
    for form in FORMS:
        path = building.path_of(entry, form)
        notebook = building.generate(entry, form)
        try:
            execute(
                notebook,
                entry.folder,
                cluster=cluster,
                name=f"{entry.name} ({form})",
                on_cell=lambda number, count, first: say(f"  [{number}/{count}] {first[:90]}"),
            )
        except GlasshiveError as failure:
            say(f"{entry.name}: {failure}")
            failures += 1
            continue
        building.write(path, notebook)
        say(f"{entry.name}: wrote {path}")
    return failures


def check(ids: Sequence[str], *, say: Say) -> int:
    """Hold the committed notebooks to the rules and compare them with their sources; nothing is run."""
    complaints: list[str] = []
    for entry in chosen(ids):
        for form in FORMS:
            complaints += building.differences(entry, form)
            path = building.path_of(entry, form)
            if path.exists():
                complaints += lint.lint(path)
    known = {path for entry in read_labs() for path in (entry.notebook, entry.solution, entry.source)}
    folder = read_labs()[0].folder
    strays = {*folder.glob("*.ipynb"), *folder.glob("solutions/*.ipynb"), *folder.glob("src/*.py")} - known
    complaints += [f"{path}: not in labs.toml" for path in sorted(strays)] if not ids else []
    for text in complaints:
        say(text)
    say("labs: " + (f"{len(complaints)} complaints" if complaints else f"{len(chosen(ids))} keep the rules"))
    return 1 if complaints else 0


def verify(ids: Sequence[str], *, cluster: str, say: Say) -> int:
    """Run the solved notebooks under nbval and say whether they show what is committed."""
    failures = 0
    for entry in chosen(ids):
        same, text = compare.compare(entry.solution, cluster=cluster)
        say(f"{entry.name}: {'shows what is committed' if same else 'differs'}")
        if not same:
            say(text)
            failures += 1
    return 1 if failures else 0


def run(wanted: str, *, cluster: str, results: Path, say: Say, solved: bool = True) -> int:
    """Run one lab without a browser; 0 when every cell and every check went well."""
    return 0 if headless.run(find_lab(wanted), cluster=cluster, results=results, say=say, solved=solved) else 1


def start(*, cluster: str, nodes: int, headless_run: bool, say: Say) -> int:
    """What ``make lab`` ends with: say what the machine can do, have the cluster up, then JupyterLab or the tour."""
    from glasshive.cluster import Cluster, connect

    entries = read_labs()
    diagnoses = doctor.diagnose(probe.machine(), [entry.wanted() for entry in entries])
    for one in diagnoses:
        lacks = ", ".join((*one.missing, *one.unsure))
        say(f"lab {one.wanted.name}: {one.state}" + (f", lacks {lacks}" if lacks else ""))
    try:
        found = connect(cluster)
        say(f"cluster {cluster} is up already: {found.config.nodes} nodes")
    except NotFoundError:
        say(f"bringing up cluster {cluster} with {nodes} nodes")
        Cluster(cluster, nodes=nodes).up(follow=lambda step: say(f"  {step.seconds:5.2f} s  {step.text}"))
    if headless_run:
        return run(entries[0].id, cluster=cluster, results=results_folder(), say=say)
    return _jupyter(entries[0].folder, cluster, say)


def results_folder() -> Path:
    """Give where runs without a browser leave what they showed."""
    root = read_labs()[0].folder.parent / "results"
    return root if os.access(root.parent, os.W_OK) else Path(tempfile.mkdtemp(prefix="glasshive-results-"))


def _quiet_jupyter() -> None:
    """Keep JupyterLab of this environment from asking about news: a lab machine may have no way out."""
    settings = Path(sys.prefix) / "etc" / "jupyter" / "labconfig" / "page_config.json"
    if not settings.exists() and os.access(sys.prefix, os.W_OK):
        settings.parent.mkdir(parents=True, exist_ok=True)
        off = {"@jupyterlab/apputils-extension:announcements": True}
        settings.write_text(json.dumps({"disabledExtensions": off}) + "\n", encoding="ascii")


def _jupyter(folder: Path, cluster: str, say: Say) -> int:
    """Become JupyterLab on loopback; it prints its address, with the token, itself."""
    _quiet_jupyter()
    program = Path(sys.executable).parent / "jupyter-lab"
    say(f"JupyterLab on {folder}; the address to open follows")
    say(f"Ctrl-C ends it; the cluster stays until: glasshive down {cluster}")
    arguments = [
        str(program), "--no-browser", "--ip=127.0.0.1", "--log-level=WARN",
        # One folder up, so that links from labs to sources work.
        f"--ServerApp.root_dir={folder.parent}",
        f"--LabApp.default_url=/lab/tree/{folder.name}/00_tour.ipynb",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    if os.geteuid() == 0:
        arguments.append("--allow-root")
    os.environ["GLASSHIVE_CLUSTER"] = cluster
    sys.stdout.flush()
    os.execv(program, arguments)  # noqa: S606 - this is meant to replace us
