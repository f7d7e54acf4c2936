"""A BPF program as a picture: source lines beside the instructions made from them, the verifier's walk, the maps.

Choose a source line with the mouse, or with Tab and the arrow keys, and its instructions are marked. A refused program
shows the line that matters, and why, in words. ``listing()`` is the whole of it as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from glasshive.model.program_text import Function, Instruction, MapFacts, ProgramText
from glasshive.widgets.view import STATIC, View

MOST_STEPS = 2000
_LOG_BYTES = 200_000
_AROUND = 2  # source lines shown above and below a refusal


class ProgramView(View):
    """A text of C and what the kernel made of it."""

    _esm = STATIC / "program_view.js"
    _css = STATIC / "view.css"

    def __init__(self, shown: ProgramText) -> None:
        self.shown = shown
        super().__init__(picture(shown), text(shown))

    def listing(self, function: str = "") -> str:
        """Give source and instructions as text: under each source line what the kernel runs for it.

        Of a refused program: what the verifier walked, and what it knew there.
        """
        return listing(self.shown, function)


def text(shown: ProgramText) -> str:
    """Say what the view shows, without instructions: those differ from compiler to compiler."""
    if shown.refused is None:
        lines = [f"{shown.name}: loaded, from {shown.place}"]
        for one in shown.functions:
            hook = f", {one.hook}" if one.hook else ""
            lines.append(f"  program {one.name} ({one.kind}{hook}): {len(one.translated)} instructions")
    else:
        lines = [f"{shown.name}: refused by the {shown.refused.by}, from {shown.place}"]
        lines += [f"  {line}" for line in (shown.refused.why, *_around(shown, shown.refused.line))]
    lines += [f"  map {_map_words(one)}" for one in shown.maps]
    return "\n".join(lines)


def listing(shown: ProgramText, function: str = "") -> str:
    """Write source lines, each followed by its instructions; the walk where there are no translated ones."""
    chosen = [one for one in shown.functions if function in ("", one.name)]
    by_line: dict[int, list[str]] = {}
    for one in chosen:
        for step in one.translated or one.walk:
            by_line.setdefault(step.line, []).append(f"        {step.number:>4}: {_step_words(step)}")
    refused = shown.refused.line if shown.refused else 0
    lines = [text(shown), ""]
    for number, source in enumerate(shown.source, shown.first_line):
        lines.append(f"{'>' if number == refused else ' '}{number:>4}  {source.expandtabs(4)}".rstrip())
        lines += by_line.get(number, [])
    return "\n".join(lines)


def picture(shown: ProgramText) -> dict[str, Any]:
    """Give the browser's part all it shows."""
    refused = shown.refused
    return {
        "name": shown.name,
        "place": shown.place,
        "firstLine": shown.first_line,
        "source": [line.expandtabs(4) for line in shown.source],
        "functions": [_function(one) for one in shown.functions],
        "maps": [[one.name, one.type, one.key_bytes, one.value_bytes, one.entries] for one in shown.maps],
        "refused": None
        if refused is None
        else {"by": refused.by, "why": refused.why, "line": refused.line, "instruction": refused.instruction},
        "log": (refused.log if refused else "")[-_LOG_BYTES:],
    }


def _function(one: Function) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "hook": one.hook,
        "translated": [_row(step) for step in one.translated[:MOST_STEPS]],
        "walk": [_row(step) for step in one.walk[:MOST_STEPS]],
        "more": max(0, len(one.walk) - MOST_STEPS, len(one.translated) - MOST_STEPS),
        "statistics": one.statistics,
        "log": one.log[-_LOG_BYTES:],
    }


def _row(step: Instruction) -> list[Any]:
    return [step.number, step.text, step.line, step.state]


def _step_words(step: Instruction) -> str:
    return f"{step.text:<36} ; {step.state}" if step.state else step.text


def _map_words(one: MapFacts) -> str:
    sizes = f"{one.key_bytes}-byte key, {one.value_bytes}-byte value, " if one.key_bytes else ""
    return f"{one.name} ({one.type}): {sizes}room for {one.entries}"


def _around(shown: ProgramText, line: int) -> Iterator[str]:
    """The refused line, marked, and its neighbours."""
    if not line:
        return
    for number in range(max(shown.first_line, line - _AROUND), line + _AROUND + 1):
        if number < shown.first_line + len(shown.source):
            mark = ">" if number == line else " "
            yield f"{mark} {number:>3} | {shown.line(number).expandtabs(4)}".rstrip()
