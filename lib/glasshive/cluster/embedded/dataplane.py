"""Which dataplane a node has: what the cluster's file says, or what was chosen since, for its process to start with."""

from __future__ import annotations

from pathlib import Path

import orjson
from aiohttp import web

from glasshive.agent.config import DATAPLANES, AgentConfig


def file(node_dir: Path) -> Path:
    """Where a choice is kept; it exists once there was one."""
    return node_dir / "dataplane"


def chosen(node_dir: Path, usual: str) -> str:
    """The dataplane to start with."""
    try:
        return file(node_dir).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return usual


def routes(config: AgentConfig) -> list[web.RouteDef]:
    """GET tells, PUT chooses."""

    async def show(_: web.Request) -> web.Response:
        return _answer({"dataplane": config.dataplane, "next": chosen(config.node_dir, config.dataplane)})

    async def choose(request: web.Request) -> web.Response:
        try:
            wanted = orjson.loads(await request.read())["dataplane"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            wanted = None
        if wanted not in DATAPLANES:
            return _answer({"error": f"dataplane is {wanted!r}; allowed: {', '.join(DATAPLANES)}"}, 400)
        if wanted != "ebpf" and config.tunnel:
            return _answer({"error": f"dataplane {wanted} needs native routing; this cluster has a tunnel"}, 400)
        path = file(config.node_dir)
        path.with_suffix(".new").write_text(f"{wanted}\n", encoding="ascii")
        path.with_suffix(".new").rename(path)
        return _answer({"dataplane": config.dataplane, "next": wanted})

    return [web.get("/v1/dataplane", show), web.put("/v1/dataplane", choose)]


def _answer(data: dict[str, str], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")
