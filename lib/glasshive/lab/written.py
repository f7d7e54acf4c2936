"""Acts that write a program: what solutions and mutants of the eBPF track are made of.

A solution's text is where people read it anyway: the notebook's own exercise (``exercise``), or a teaching program of
``bpf/labs`` (``teaching``). A mutant is such a text with one thing ``changed``, so that what is wrong with it is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from glasshive.errors import UsageError
from glasshive.lab.cells import read_source

if TYPE_CHECKING:
    from glasshive.lab.kit import Lab
    from glasshive.lab.task import Act, Given

Text = Callable[["Lab"], str]
Step = Callable[["Lab", "Given"], object]


def exercise(name: str) -> Text:
    """The solved text of the lab's exercise cell of this id, without its ``%%bpf`` line."""

    def text(lab: Lab) -> str:
        for cell in read_source(lab.entry.source):
            if (cell.role, cell.id) == ("exercise", name):
                return cell.solved().partition("\n")[2] + "\n"
        raise UsageError(f"{lab.entry.source} has no exercise {name!r}")

    return text


def teaching(name: str) -> Text:
    """The text of ``bpf/labs/<name>.bpf.c``."""
    return lambda lab: (lab.entry.folder.parent / "bpf" / "labs" / f"{name}.bpf.c").read_text(encoding="utf-8")


def changed(of: Text, *changes: tuple[str, str]) -> Text:
    """A text with each ``(old, new)`` put in place; ``old`` must stand in it exactly once."""

    def text(lab: Lab) -> str:
        made = of(lab)
        for old, new in changes:
            if made.count(old) != 1:
                raise UsageError(f"{old!r} stands in the text {made.count(old)} times, not once")
            made = made.replace(old, new)
        return made

    return text


def writes(name: str, told: str, program: str, text: Text, then: Sequence[Step] = ()) -> Act:
    """Make an act called ``name`` that writes ``program`` and takes the steps after it; ``told`` says what it does."""

    def act(lab: Lab, given: Given) -> None:
        lab.workshop.write(program, text(lab))
        for step in then:
            step(lab, given)

    act.__name__, act.__doc__ = name, told
    act.text = text  # type: ignore[attr-defined]
    return act


def attaches(program: str, place: str, hook: str, part: str = "") -> Step:
    """A step: attach the program (its part ``part``, if it has several) at a place of the lab."""
    return lambda lab, _given: lab.workshop.program(program).attach(place, hook, program=part)  # type: ignore[arg-type]
