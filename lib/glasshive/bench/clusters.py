"""Clusters for benchmarks, brought up and taken down by the command that people type."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from glasshive.errors import NotFoundError, ProcessError
from glasshive.model.endpoint import Endpoint

RUN_ROOT = Path("/run/glasshive")


def command(*argv: str, timeout: float = 300) -> str:
    """Run `glasshive ...` as a user would; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "glasshive", *argv], capture_output=True, text=True, check=False, timeout=timeout
    )
    if done.returncode:
        raise ProcessError(f"glasshive {' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout


def deployment(name: str, replicas: int, image: str = "glasshive/echo") -> dict[str, Any]:
    """A Deployment of ``replicas`` pods."""
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": image, "ports": [{"containerPort": 8080}]}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def pod(name: str, node: str, image: str = "glasshive/pause") -> dict[str, Any]:
    """A pod on a named node."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"bench": name}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": image}]},
    }


@contextmanager
def manifest(objects: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A file that holds these objects, as long as the context lasts."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump({"apiVersion": "v1", "kind": "List", "items": list(objects)}, file)
        file.flush()
        yield file.name


@contextmanager
def cluster(role: str, *options: str, objects: Sequence[dict[str, Any]] = ()) -> Iterator[str]:
    """A cluster with these objects ready; its name. It is gone at the end."""
    name = f"bench-{role}-{os.getpid()}"
    with manifest(objects) as file:
        apply = ("--apply", file) if objects else ()
        command("up", name, *options, *apply)
    try:
        yield name
    finally:
        command("down", name)


def endpoint(cluster_name: str, node: str, pod_name: str) -> Endpoint:
    """What the node's agent says about a pod."""
    for row in ask(cluster_name, node, "/v1/endpoints"):
        if row["pod"] == pod_name:
            return Endpoint.from_json(row)
    raise NotFoundError(f"pod {pod_name} has no endpoint on {node} of cluster {cluster_name}")


def ask(cluster_name: str, node: str, path: str) -> Any:
    """A node's agent's answer."""
    return asyncio.run(_ask(RUN_ROOT / cluster_name / "nodes" / node / "node.sock", path))


async def _ask(socket: Path, path: str) -> Any:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), raise_for_status=True) as session,
        session.get(f"http://node{path}") as answer,
    ):
        return await answer.json()
