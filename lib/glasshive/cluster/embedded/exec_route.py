"""``POST /v1/exec`` on a node's socket: run a command in a pod's container and collect its output.

For notebooks, checks and the command line. kubectl's streaming exec goes the kubelet's own way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiohttp import web

from glasshive.cluster.embedded.pods.client import run_command
from glasshive.errors import GlasshiveError


def route(pods: Path) -> web.RouteDef:
    """Return the route; ``pods`` is the directory of the node's pods, one folder per uid."""

    async def run(request: web.Request) -> web.Response:
        try:
            body: dict[str, Any] = json.loads(await request.read())
            directory = pods / Path(str(body["uid"])).name
            container, argv = str(body["container"]), [str(word) for word in body["argv"]]
            timeout, stdin = float(body.get("timeout", 30.0)), str(body.get("stdin", "")).encode()
        except (ValueError, KeyError, TypeError) as error:
            return _answer({"error": f"the request is not understood: {error!r}"}, 400)
        if not directory.is_dir():
            return _answer({"error": f"no pod with uid {directory.name} runs here"}, 404)
        try:
            outcome = await run_command(directory, container, argv, stdin=stdin, timeout_seconds=timeout)
        except GlasshiveError as error:
            return _answer({"error": str(error)}, 500)
        if outcome.timed_out or outcome.error:
            what = outcome.error or f"{' '.join(argv)} did not end within {timeout:g} s"
            return _answer({"error": what}, 504 if outcome.timed_out else 422)
        texts = (outcome.stdout.decode(errors="replace"), outcome.stderr.decode(errors="replace"))
        return _answer({"returncode": outcome.rc, "stdout": texts[0], "stderr": texts[1]})

    return web.post("/v1/exec", run)


def _answer(data: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(data).encode(), status=status, content_type="application/json")
