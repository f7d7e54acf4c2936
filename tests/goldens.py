"""Golden texts: what something printed when somebody last read it, kept in ``tests/goldens/``.

``make goldens`` rewrites them from what runs now (GLASSHIVE_GOLDENS=write); read the diff before you commit it. Tests
that use them have ``golden`` in their name. What differs from run to run is replaced by a word in angle brackets first.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "goldens"


def check(name: str, text: str) -> None:
    """Compare with the golden text ``name``, or write it."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("GLASSHIVE_GOLDENS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    if kept != text:
        shown = difflib.unified_diff(kept.splitlines(), text.splitlines(), f"goldens/{name}.txt", "now", lineterm="")
        raise AssertionError("\n".join(["not what it was (make goldens rewrites it):", *shown]))


def settle(text: str, names: Mapping[str, str], patterns: Mapping[str, str] | None = None) -> str:
    """Replace whole words of ``names``, longest first, then what ``patterns`` match; columns move together."""
    for word in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.:]){re.escape(word)}(?!\w|:[\w:]|\.\d)", f"<{names[word]}>", text)
    for pattern, word in (patterns or {}).items():
        text = re.sub(pattern, f"<{word}>", text)
    return re.sub(r" {3,}", "   ", text)
