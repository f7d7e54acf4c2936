"""Two small programs that run where traffic starts and ends. Standard library only: any image with Python can run them.

Their source is handed to ``python3 -c``; nothing is imported from here at run time.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def source(name: str) -> str:
    """Return the text of ``responder`` or ``prober``."""
    return (_HERE / f"{name}.py").read_text(encoding="utf-8")
