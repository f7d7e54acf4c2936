"""``labs/glossary.toml``: the terms of the labs, where each lives in the library, and what Cilium calls it.

In prose an author writes ``[[ipcache]]`` or ``[[endpoint|endpoints]]`` where a lab uses a term for the first time: the
builder makes a link and Cilium's name of it. The lint (``unlinked``) asks for it in every lab that uses the term.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from glasshive.errors import ManifestError

FILE = "glossary.toml"
_KEYS = {"term": str, "also": list, "where": str, "cilium": str, "means": str}
_OPTIONAL = {"also"}
_MARK = re.compile(r"\[\[([^\]|]+)(?:\|([^\]]+))?\]\]")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)[^)]*\)")
# Code, headings, pictures and the targets of links are not where a term is explained.
_NOT_PROSE = re.compile(r"^```.*?^```|`[^`\n]*`|^#+ [^\n]*$|!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Term:
    """A term: ``also`` are its other forms, ``where`` a path of the repository, ``cilium`` the name it has there."""

    term: str
    where: str
    cilium: str
    means: str
    also: tuple[str, ...] = ()

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the term, in any of its forms, as a word."""
        forms = "|".join(re.escape(one) for one in sorted((self.term, *self.also), key=len, reverse=True))
        return re.compile(rf"(?<![\w/.-])(?:{forms})(?![\w/-])", re.IGNORECASE)

    def link(self, shown: str = "") -> str:
        """Write the term as its first use wants it: linked, with what Cilium calls it."""
        return f"[{shown or self.term}](../{self.where}) (*Cilium: {self.cilium}*)"


def read(folder: Path) -> list[Term]:
    """Read the glossary beside the labs; [] without one. Raises ManifestError with file and line."""
    path = folder / FILE
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as trouble:
        raise ManifestError(f"{path} is not TOML: {trouble}") from trouble
    if set(content) - {"term"}:
        raise ManifestError(f"{path}:1: unknown key {min(set(content) - {'term'})!r}", hint="allowed: [[term]]")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.strip() == "[[term]]"]
    found = [_term(f"{path}:{line}", row) for line, row in zip(lines, content.get("term", []), strict=True)]
    for line, one in zip(lines, found, strict=True):
        if not (folder.parent / one.where).exists():
            raise ManifestError(
                f"{path}:{line}: term {one.term!r}: there is no {one.where}", hint="a path from the root"
            )
        if sum(one.term == other.term for other in found) > 1:
            raise ManifestError(f"{path}:{line}: term {one.term!r} stands there twice")
    return found


def _term(where: str, row: dict[str, Any]) -> Term:
    for key, kind in _KEYS.items():
        if key not in row and key in _OPTIONAL:
            continue
        if not isinstance(row.get(key), kind) or not row[key]:
            raise ManifestError(f"{where}: {key} is {row.get(key)!r}: {'text' if kind is str else 'a list'} is wanted")
    if set(row) - set(_KEYS):
        raise ManifestError(f"{where}: unknown key {min(set(row) - set(_KEYS))!r}", hint=f"allowed: {', '.join(_KEYS)}")
    return Term(**{**row, "also": tuple(row.get("also", ()))})


def expand(text: str, terms: Sequence[Term], where: str) -> str:
    """Make links of ``[[term]]``. Raises ManifestError naming ``where`` for a term that the glossary lacks."""
    known = {one.term: one for one in terms}

    def link(found: re.Match[str]) -> str:
        name = found[1].strip()
        if name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.4) or sorted(known)
            raise ManifestError(f"{where}: [[{name}]] is not in {FILE}", hint=f"near it: {', '.join(near)}")
        return known[name].link((found[2] or "").strip())

    return _MARK.sub(link, text)


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def unlinked(prose: Sequence[tuple[str, str]], terms: Sequence[Term]) -> Iterator[tuple[str, str]]:
    """Give (cell, complaint) for each term whose first use in the prose (cell, text) is not its link."""
    for one in terms:
        for cell, text in prose:
            plain = _NOT_PROSE.sub(_blank, text)
            first = one.pattern.search(plain)
            if first is None:
                continue
            links = [link for link in _LINK.finditer(text) if link.start() < first.start() < link.end()]
            if not any(link[2].lstrip("./") == one.where for link in links) or one.cilium not in text:
                use = one.term if first[0].lower() == one.term.lower() else f"{one.term}|{first[0]}"
                yield cell, f"{first[0]!r} stands here for the first time without its link: write [[{use}]]"
            break
