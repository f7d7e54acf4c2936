"""``lab.explain(...)``: what a term, a drop reason, a row or a result means, from the kit's own words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from glasshive.errors import NotFoundError
from glasshive.lab.glossary import Term
from glasshive.lab.shown import Shown
from glasshive.lab.words import COLUMNS, DROP_REASONS, drop_reason


class Told(str):
    """Text that a notebook shows as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def explain(what: object, terms: Sequence[Term]) -> Told:
    """Say what something is. NotFoundError lists near words for one that the kit does not know."""
    if isinstance(what, Shown):
        return Told("\n".join(_of_result(what)) or "everything is as it should be")
    if isinstance(what, Mapping):
        return Told("\n".join(f"{key} {value}: {_column(str(key), value, terms)}" for key, value in what.items()))
    word = str(what).strip()
    term = _term(word, terms)
    if term is not None:
        return Told(f"{term.term}: {term.means} ({term.where}; Cilium: {term.cilium})")
    if word in DROP_REASONS:
        return Told(f"{word}: {drop_reason(word)} (bpf/types/drop.h)")
    known = [one.term for one in terms]
    near = difflib.get_close_matches(word.lower(), [*known, *DROP_REASONS], 4, 0.5) or sorted(known)
    raise NotFoundError(f"the kit has no word for {word!r}", hint=f"near it: {', '.join(near)}")


def _term(word: str, terms: Sequence[Term]) -> Term | None:
    return next((one for one in terms if one.pattern.fullmatch(word)), None)


def _of_result(shown: Shown) -> list[str]:
    return [
        f"{one.title}: {one.result.why or one.result.observed}"
        for task in shown.tasks
        for one in task.checks
        if not one.result
    ]


def _column(name: str, value: object, terms: Sequence[Term]) -> str:
    if name == "reason":
        return drop_reason(str(value))
    term = _term(name, terms)
    return term.means if term else COLUMNS.get(name, "a column that this kit has no words for: see bpf/types")
