"""The report of one run of a lab without a browser: results by task, time by cell, and on what it ran.

``read`` makes it of a notebook that papermill has run; ``to_html`` is a page that stands alone, ``to_text`` says the
same in a terminal. Both are pure.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_HEADLINE = re.compile(r"^(pass|fail|error|timeout|skipped): (.+?) \((?:([\d.]+) of ([\d.]+) points.*|not assessed)\)$")
_CHECK = re.compile(r"^  (pass|fail|error|timeout|skipped): (.+)$")
_SIGNS = {"pass": "✓", "fail": "✗", "error": "!", "timeout": "!", "skipped": "-"}


@dataclass(frozen=True)
class TaskLine:
    """A task as its check cell told it; ``checks`` are (verdict, title, what was observed)."""

    verdict: str
    title: str
    earned: float
    points: float
    checks: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Report:
    """One run. ``cells``: (first line, seconds) of each cell of code; ``failure``: the cell that raised, and what."""

    lab: str
    title: str
    notebook: str
    began: str
    seconds: float
    parameters: Mapping[str, Any]
    environment: Mapping[str, str]
    tasks: tuple[TaskLine, ...]
    cells: tuple[tuple[str, float], ...]
    failure: str = ""

    @property
    def went_well(self) -> bool:
        """Every cell ran, and every task that was checked is done."""
        return not self.failure and all(one.verdict == "pass" for one in self.tasks)

    @property
    def verdict(self) -> str:
        """In one line."""
        done = sum(one.verdict == "pass" for one in self.tasks)
        tasks = f"{done} of {len(self.tasks)} tasks done" if self.tasks else "no task to grade"
        return f"{'done' if self.went_well else 'FAILED'}: {tasks}, {self.seconds:.1f} s"


def read(
    notebook: Any, *, lab: str, title: str, name: str, environment: Mapping[str, str], failure: str = ""
) -> Report:
    """Make the report of a notebook that papermill has run."""
    about = notebook.metadata.get("papermill", {})
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cells = [
        ((cell.source.splitlines() or [""])[0], float(cell.metadata.get("papermill", {}).get("duration") or 0.0))
        for cell in code
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    tasks = [line for cell in code for line in check_lines(cell)]
    return Report(
        lab, title, name, str(about.get("start_time", ""))[:19].replace("T", " "), float(about.get("duration") or 0.0),
        dict(about.get("parameters") or {}), dict(environment), tuple(tasks), tuple(cells), failure,
    )  # fmt: skip


def check_lines(cell: Any) -> list[TaskLine]:
    """What a check cell told of tasks; [] for other cells."""
    if cell.metadata.get("glasshive", {}).get("role") != "check":
        return []
    texts = [str(output.get("data", {}).get("text/plain", "")) for output in cell.get("outputs", [])]
    return tasks_in("\n".join(texts))


def tasks_in(text: str) -> list[TaskLine]:
    """Read the text twin of results (``glasshive.lab.shown``)."""
    found: list[TaskLine] = []
    for line in text.splitlines():
        head, check = _HEADLINE.match(line), _CHECK.match(line)
        if head:
            found.append(TaskLine(head[1], head[2], float(head[3] or 0), float(head[4] or 0), ()))
        elif found and (check or line.startswith("    observed: ")):
            checks = found[-1].checks
            if check:
                checks = (*checks, (check[1], check[2], ""))
            elif checks:
                checks = (*checks[:-1], (*checks[-1][:2], line.removeprefix("    observed: ")))
            last = found[-1]
            found[-1] = TaskLine(last.verdict, last.title, last.earned, last.points, checks)
    return found


def environment() -> dict[str, str]:
    """On what this runs."""
    from importlib.metadata import version

    return {
        "glasshive": version("glasshive"),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def to_text(report: Report) -> str:
    """Say it in a terminal."""
    lines = [f"lab {report.lab} {report.title}", report.verdict, *([report.failure] if report.failure else []), ""]
    for one in report.tasks:
        lines.append(f"{one.verdict}: {one.title} ({one.earned:g} of {one.points:g} points)")
        for verdict, title, observed in one.checks:
            lines.append(f"  {verdict}: {title}" + (f": {observed}" if observed else ""))
    lines += ["", *_pairs(report), "", "seconds by cell:"]
    lines += [f"  {seconds:7.2f}  {first}" for first, seconds in report.cells]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _pairs(report: Report) -> list[str]:
    about = {"notebook": report.notebook, "began": report.began, **report.parameters, **report.environment}
    return [f"{name}: {value}" for name, value in about.items()]


_STYLE = """
:root { color-scheme: light dark; --good: light-dark(#1a7f37, #4ac26b); --bad: light-dark(#b3261e, #ff8a80); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; margin: 0.5em 0 1.5em; }
th, td { text-align: left; vertical-align: top; padding: 4px 10px 4px 0; }
tr { border-bottom: 1px solid light-dark(#ccc, #555); }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
td:first-child, td.n { white-space: nowrap; }
code { font-family: ui-monospace, monospace; font-size: 13px; }
.pass { color: var(--good); } .fail, .error, .timeout { color: var(--bad); }
@media print { body { max-width: none; margin: 0; } }
"""


def to_html(report: Report) -> str:
    """A page that stands alone: no script, nothing fetched."""
    title = escape(f"Lab {report.lab}: {report.title}")
    rows = "".join(_task_rows(one) for one in report.tasks)
    tasks = _table(("", "task and checks", "observed", "points"), rows) if rows else "<p>No task to grade.</p>"
    cells = "".join(
        f"<tr><td class=n>{took:.2f}</td><td><code>{escape(first)}</code></td></tr>" for first, took in report.cells
    )
    about = "".join(_about_row(*pair.split(": ", 1)) for pair in _pairs(report))
    failure = f"<p class=fail><strong>{escape(report.failure)}</strong></p>" if report.failure else ""
    state = "pass" if report.went_well else "fail"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>"
        f"<body><h1>{title}</h1><p class={state}><strong>{_SIGNS[state]} {escape(report.verdict)}</strong></p>{failure}"
        f"<h2>Tasks</h2>{tasks}<h2>Run</h2>{_table(('what', ''), about)}"
        f"<h2>Time by cell</h2>{_table(('seconds', 'cell'), cells)}</body></html>\n"
    )


def _table(heads: Sequence[str], rows: str) -> str:
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _about_row(name: str, value: str = "") -> str:
    return f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'


def _task_rows(one: TaskLine) -> str:
    rows = _task_row(one.verdict, f"<strong>{escape(one.title)}</strong>", "", f"{one.earned:g} of {one.points:g}")
    return rows + "".join(_task_row(verdict, escape(title), escape(seen), "") for verdict, title, seen in one.checks)


def _task_row(verdict: str, title: str, seen: str, points: str) -> str:
    sign = f'<span aria-hidden="true">{_SIGNS[verdict]}</span> {verdict}'
    return f"<tr><td class={verdict}>{sign}</td><td>{title}</td><td>{seen}</td><td class=n>{points}</td></tr>"
