"""What ``glasshive lab ...`` does, as functions that say what they do through ``say`` and return an exit status."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glasshive.bpf import doctor, probe
from glasshive.errors import GlasshiveError, NotFoundError, UsageError
from glasshive.lab import build as building
from glasshive.lab import clusters, compare, glossary, headless, lint, translations
from glasshive.lab.cells import read_source
from glasshive.lab.execute import execute
from glasshive.lab.kernels import KernelPool
from glasshive.lab.manifest import LabEntry, find_lab, read_labs
from glasshive.lab.tasks import tasks_of

if TYPE_CHECKING:
    from glasshive.cluster import Cluster

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


def build(ids: Sequence[str], *, cluster: str, say: Say, language: str = "", prose: bool = False) -> int:
    """Generate, run and write the notebooks of each lab. A lab that fails leaves its old files as they were.

    With a ``language`` only the notebooks in that language are written, with ``prose`` all of them: nothing is run
    then, and the outputs stay, because the code is the same.
    """
    from glasshive.cluster.embedded.paths import cluster_names

    entries = chosen(ids)
    if language:
        return _translate(entries, language, named=bool(ids), say=say)
    if prose:
        for entry in entries:
            for form in FORMS:
                say(f"{entry.name}: wrote {building.reword(entry, form)}")
            _translations(entry, say)
        return 0
    for entry in entries:
        tasks_of(entry.topic)
        for form in FORMS:
            building.generate(entry, form)  # mistakes in a source are told before anything is started
    # The first kernel gets ready while the cluster comes up.
    with KernelPool() as pool, clusters.lent(cluster, entries, say) as cluster_of:
        for entry in entries:
            _refuse_open(cluster_of(replace(entry, topology="")), [entry])
            if entry.topology and clusters.name_of(entry, cluster) in cluster_names():
                _refuse_open(clusters.find(entry, cluster), [entry])
        with clusters.swept(cluster, entries):
            failures = sum(_build_one(entry, cluster, say, pool) for entry in entries)
    return 1 if failures else 0


def _refuse_open(cluster: Cluster, entries: Sequence[LabEntry]) -> None:
    """Refuse to build a lab that somebody has open: what is there already would stand in the notebook."""
    there = {one["metadata"]["name"] for one in cluster.get("namespace", namespace=None)}
    for entry in entries:
        if f"lab-{entry.id}" in there:
            hint = "reset it, or take another cluster: --cluster"
            raise UsageError(f"lab {entry.id} is open on cluster {cluster.name}", hint=hint)


def _build_one(entry: LabEntry, cluster: str, say: Say, pool: KernelPool | None = None) -> int:
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
                pool=pool,
            )
        except GlasshiveError as failure:
            lines = {cell.key: cell.line for cell in read_source(entry.source)}
            at = next((f":{line}" for key, line in lines.items() if f"cell {key} " in str(failure)), "")
            say(f"{entry.source}{at}: {failure}")
            failures += 1
            continue
        building.write(path, notebook)
        say(f"{entry.name}: wrote {path}")
    if not failures:
        _translations(entry, say)
    return failures


def _translations(entry: LabEntry, say: Say) -> None:
    for language in translations.languages(entry):
        say(f"{entry.name}: wrote {building.reword(entry, 'learner', language)}")


def _translate(entries: Sequence[LabEntry], language: str, *, named: bool, say: Say) -> int:
    """Write notebooks in a language: of the labs that were named, or of all that have prose in it."""
    written = 0
    for entry in entries:
        if named or language in translations.languages(entry):
            say(f"{entry.name}: wrote {building.reword(entry, 'learner', language)}")
            for text in _of_translation(entry, language):
                say(text)
            written += 1
    if not written:
        raise NotFoundError(f"no lab has prose in {language!r}", hint=f"labs/src/NN_topic.{language}.md")
    return 0


def _of_translation(entry: LabEntry, language: str) -> list[str]:
    path = translations.path_of(entry, language)
    return translations.match(path, translations.read(path), read_source(entry.source))[1]


def check(ids: Sequence[str], *, say: Say) -> int:
    """Hold the committed notebooks to the rules and compare them with their sources; nothing is run."""
    entries = chosen(ids)
    terms = glossary.read(entries[0].folder)
    complaints: list[str] = []
    for entry in entries:
        lines = {cell.key: cell.line for cell in read_source(entry.source)}
        forms: list[tuple[building.Form, str]] = [*((form, "") for form in FORMS)]
        for language in translations.languages(entry):
            complaints += _of_translation(entry, language)
            forms.append(("learner", language))
        for form, language in forms:
            complaints += building.differences(entry, form, language)
            path = building.path_of(entry, form, language)
            if path.exists():
                source = translations.path_of(entry, language) if language else entry.source
                complaints += lint.lint(path, terms=terms, source=source, lines=_lines(entry, language) or lines)
    complaints += _strays(entries[0].folder) if not ids else []
    for text in complaints:
        say(text)
    say("labs: " + (f"{len(complaints)} complaints" if complaints else f"{len(entries)} keep the rules"))
    return 1 if complaints else 0


def _lines(entry: LabEntry, language: str) -> dict[str, int]:
    """Where each cell's prose stands in a file of translations; empty for English."""
    if not language:
        return {}
    return {one.cell: one.line for one in translations.read(translations.path_of(entry, language))}


def _strays(folder: Path) -> list[str]:
    """Files among the labs that no lab of the manifest knows."""
    known: set[Path] = set()
    for entry in read_labs(folder):
        known |= {entry.notebook, entry.solution, entry.source}
        for language in translations.languages(entry):
            known |= {translations.path_of(entry, language), building.path_of(entry, "learner", language)}
    found = {
        *folder.glob("*.ipynb"),
        *folder.glob("solutions/*.ipynb"),
        *folder.glob("src/*.py"),
        *folder.glob("src/*.md"),
    }
    return [f"{path}: not in labs.toml" for path in sorted(found - known)]


def verify(ids: Sequence[str], *, cluster: str, say: Say) -> int:
    """Run the solved notebooks under nbval and say whether they show what is committed."""
    entries = chosen(ids)
    with clusters.swept(cluster, entries):
        found = compare.compare([entry.solution for entry in entries], cluster=cluster)
    for entry in entries:
        one = found[entry.solution]
        shown = "shows what is committed" if one.same else "differs"
        say(f"{entry.name}: {shown} ({one.cells} cells, {one.seconds:.1f} s)")
        if not one.same:
            say(one.said)
    return 0 if all(one.same for one in found.values()) else 1


def run(
    ids: Sequence[str],
    *,
    cluster: str,
    results: Path,
    say: Say,
    solved: bool = True,
    seed: int | None = None,
    tier: int | None = None,
) -> int:
    """Run labs without a browser: those named, or all. 0 when every cell and every check went well."""
    entries = chosen(ids)
    failures = 0
    with clusters.swept(cluster, entries), KernelPool(spare=len(entries) > 1) as pool:
        for entry in entries:
            went_well = headless.run(
                entry, cluster=cluster, results=results, say=say, solved=solved, seed=seed, tier=tier, pool=pool
            )
            failures += not went_well
    return 1 if failures else 0


def start(*, cluster: str, nodes: int, headless_run: bool, say: Say, lab: str = "") -> int:
    """What ``make lab`` ends with: say what the machine can do, have the cluster up, then JupyterLab or the tour.

    ``lab``: the notebook to open, the tour if none is named.
    """
    from glasshive.cluster import Cluster, connect

    entries = read_labs()
    chosen_lab = find_lab(lab) if lab else entries[0]
    if lab:
        say(f"opening lab {chosen_lab.id}, {chosen_lab.title}")
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
        return run([entries[0].id], cluster=cluster, results=results_folder(), say=say)
    return _jupyter(chosen_lab, cluster, say)


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


def _jupyter(lab: LabEntry, cluster: str, say: Say) -> int:
    """Become JupyterLab on loopback; it prints its address, with the token, itself."""
    folder = lab.folder
    _quiet_jupyter()
    program = Path(sys.executable).parent / "jupyter-lab"
    say(f"JupyterLab on {folder}; the address to open follows")
    say(f"Ctrl-C ends it; the cluster stays until: glasshive down {cluster}")
    arguments = [
        str(program), "--no-browser", "--ip=127.0.0.1", "--log-level=WARN",
        # One folder up, so that links from labs to sources work.
        f"--ServerApp.root_dir={folder.parent}",
        f"--LabApp.default_url=/lab/tree/{folder.name}/{lab.notebook.name}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    if os.geteuid() == 0:
        arguments.append("--allow-root")
    os.environ["GLASSHIVE_CLUSTER"] = cluster
    sys.stdout.flush()
    os.execv(program, arguments)  # noqa: S606 - this is meant to replace us
