"""What all views have in common: state sent to the browser, a text twin, and a thread that keeps them fresh.

The text twin is the view's ``repr`` and its ``text/plain`` output: it says what the picture says, for a terminal, a
screen reader, and the comparison of executed notebooks. It holds nothing that differs from run to run by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import anywidget
import traitlets

from glasshive.errors import GlasshiveError, UsageError

STATIC = Path(__file__).parent / "static"
MOST_UPDATES_PER_S = 20.0
_FAILURES_BEFORE_STOP = 5


class View(anywidget.AnyWidget):
    """A view over plain values: ``state`` is all that the browser's part gets, as JSON."""

    state = traitlets.Dict().tag(sync=True)

    def __init__(self, state: dict[str, Any], text: str) -> None:
        super().__init__(state=state)
        self._text = text
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return self._text

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Give the widget's own output with the whole text twin (the default cuts it after 110 characters)."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if isinstance(data, dict):
            data["text/plain"] = self._text
        return bundle

    def put(self, state: dict[str, Any], text: str) -> None:
        """Show something newer."""
        self._text = text
        self.state = state

    def keep_fresh(self, refresh: Callable[[], tuple[dict[str, Any], str]], *, per_second: float = 2.0) -> Self:
        """Call ``refresh`` from a thread and show what it gives, until ``stop`` or five failures in a row.

        The thread never prints: output of threads would land in whatever cell runs then. A failure
        is shown in the view.
        """
        if not 0 < per_second <= MOST_UPDATES_PER_S:
            limits = f"above 0, at most {MOST_UPDATES_PER_S:.0f}"
            raise UsageError(f"{per_second} updates a second are not possible", hint=limits)
        self.stop()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(refresh, 1.0 / per_second, self._stop), name="glasshive-view", daemon=True
        )
        self._thread.start()
        return self

    def _run(self, refresh: Callable[[], tuple[dict[str, Any], str]], pace_s: float, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            began = time.monotonic()
            try:
                state, text = refresh()
            except (GlasshiveError, OSError) as trouble:
                failures += 1
                self.state = {**self.state, "live": False, "problem": str(trouble)}
                if failures >= _FAILURES_BEFORE_STOP:
                    return
            else:
                failures = 0
                if not stop.is_set():
                    self.put({**state, "live": True, "problem": ""}, text)
            stop.wait(max(0.0, pace_s - (time.monotonic() - began)))

    def stop(self) -> None:
        """End the live updates; the last state stays. Harmless when there are none."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)
        if self.state.get("live"):
            self.state = {**self.state, "live": False}

    def rest(self) -> None:
        """End what keeps the view fresh and let the last picture stay, as a closed view would leave an empty cell."""
        self.stop()

    def close(self) -> None:
        """End the live updates and take the view away."""
        self.stop()
        super().close()
