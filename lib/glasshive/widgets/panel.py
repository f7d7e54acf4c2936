"""How a lab's tasks stand, live: green when the real state is right, red again when it breaks.

The browser's part listens to the panel's server itself (``glasshive.lab.panel``), not to the notebook's kernel: it
goes on while a cell runs, and after a restart. Tab enters the list, the arrow keys move, Enter opens a task.
The text twin names the tasks and not how they stand, so that it is the same in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glasshive.widgets.view import STATIC, View


class Panel(View):
    """The progress panel of one lab. ``board`` is what is shown until the server is heard."""

    _esm = STATIC / "panel.js"
    _css = STATIC / "view.css"

    def __init__(self, board: dict[str, Any], *, url: str, token: str, twin: str = "") -> None:
        super().__init__({"board": board, "url": url, "token": token, "twin": twin}, text(board, twin))


def text(board: dict[str, Any], twin: str = "") -> str:
    """Name the lab and its tasks."""
    lines = [f"progress of lab {board['lab']}: {board['title']}"]
    lines += [f"  - {one['title']} ({one['points']} points)" for one in _tasks(board)]
    return "\n".join([*lines, *([f"  how they stand, in a terminal: {twin}"] if twin else [])])


def _tasks(board: dict[str, Any]) -> Sequence[dict[str, Any]]:
    return list(board["tasks"])
