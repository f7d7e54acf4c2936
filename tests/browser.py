"""A headless chromium of the distribution, driven over the DevTools protocol: for tests of what JupyterLab shows.

Only what those tests need: open a page, evaluate JavaScript in it, wait until something is so. chromium is no package
of this project (about 300 MB, and a snap on Ubuntu): tests that want it are skipped where it is not installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
WITHOUT = "chromium is not installed (Debian: apt-get install chromium)"
DEADLINE_SECONDS = 90.0


class Page:
    """A page. ``run`` evaluates an expression (awaited if it is a promise) and gives its value."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events between them are dropped."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._socket.recv())
            if said.get("id") == self._number:
                assert "error" not in said, said
                return dict(said["result"])

    def open(self, url: str) -> None:
        """Go there."""
        self.send("Page.navigate", url=url)

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript."""
        found = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, right: Callable[[Any], bool] = bool) -> Any:
        """Evaluate until the value is right."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            value = self.run(expression)
            if right(value):
                return value
            assert time.monotonic() < deadline, f"{expression}: {value}\n{self.words()}"
            time.sleep(0.1)

    def words(self) -> str:
        """What a person reads on the page now: for the message of a test that fails."""
        text = str(self.run("document.body.innerText"))
        return "\n".join(line for line in text.splitlines() if line.strip())[-3000:]

    def press(self, *keys: str) -> None:
        """Press keys, as on a keyboard."""
        codes = {"Enter": 13, "ArrowDown": 40, "ArrowRight": 39, "ArrowUp": 38}
        for key in keys:
            for kind in ("keyDown", "keyUp"):
                code = codes[key]
                self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


@contextmanager
def browser() -> Iterator[Page]:
    """A page of a chromium of one's own."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(prefix="gh-chromium-", ignore_cleanup_errors=True) as profile:
        command = [
            PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0",
            f"--user-data-dir={profile}", "--window-size=1250,1000", "about:blank",
        ]  # fmt: skip
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            port = _port(Path(profile) / "DevToolsActivePort")
            with urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
            socket = websocket.create_connection(pages[0]["webSocketDebuggerUrl"], timeout=60, suppress_origin=True)
            try:
                yield Page(socket)
            finally:
                socket.close()
        finally:
            child.terminate()
            child.wait(20)


def _port(file: Path) -> int:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not file.exists() or not file.read_text().strip():
        assert time.monotonic() < deadline, "chromium did not start"
        time.sleep(0.05)
    return int(file.read_text().splitlines()[0])
