"""`bench up`: from the shell prompt to ready pods. What is timed is the command that people type."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glasshive.api.resources import DEPLOYMENT, POD
from glasshive.bench.measure import Result, Sample, Series
from glasshive.errors import DeadlineError, ProcessError
from glasshive.kube.client import Client
from glasshive.kube.informer import Informer

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
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": image, "ports": [{"containerPort": 8080}]}]},
            },
        },
    }


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def _deploy(socket: Path, replicas: int, seconds: float) -> None:
    async with Client(socket=socket) as client:
        pods: dict[str, bool] = {}
        enough = asyncio.Event()

        def on_pod(_kind: str, _old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
            if new is not None:
                pods[new["metadata"]["name"]] = _is_ready(new)
            if sum(pods.values()) >= replicas:
                enough.set()

        informer = Informer(client, POD, on_pod, namespace="default")
        informer.start()
        await client.create(DEPLOYMENT, deployment("bench", replicas))
        try:
            await asyncio.wait_for(enough.wait(), seconds)
        except TimeoutError:
            raise DeadlineError(f"{sum(pods.values())} of {replicas} pods ready after {seconds:.0f} s") from None
        finally:
            await informer.stop()


def deploy(cluster: str, replicas: int, seconds: float = 120) -> None:
    """Create a Deployment and return when all its pods are Ready."""
    asyncio.run(_deploy(RUN_ROOT / cluster / "api.sock", replicas, seconds))


def once(name: str, nodes: int, pods: int) -> tuple[float, float, float]:
    """One cluster from nothing to nothing; returns seconds until up, until pods ready, and of down."""
    began = time.monotonic()
    try:
        command("up", name, "--nodes", str(nodes))
        standing = time.monotonic()
        deploy(name, pods)
        ready = time.monotonic()
    finally:
        before_down = time.monotonic()
        command("down", name)
    return standing - began, ready - began, time.monotonic() - before_down


def bench(*, rounds: int, quick: bool, progress: Callable[[int, int], None] | None = None) -> list[Result]:
    """Three nodes and ten pods, ``rounds`` times; then, unless quick, 100 nodes with 10 pods each, once."""
    names = ("cluster up", "pods ready", "cluster down")
    series = [Series(name, lower_is_better=True) for name in names]
    for turn in range(rounds):
        for line, seconds in zip(series, once(f"bench-{os.getpid()}", 3, 10), strict=True):
            line.samples.append(Sample(seconds))
        if progress:
            progress(turn + 1, rounds)
    small = Result("up: 3 nodes, then 10 ready pods, from the shell prompt", "s", series)
    small.facts = {"goal": "pods ready in at most 2 s", "reached (best)": str(series[1].best <= 2.0)}
    if quick:
        return [small]
    large = [Series(name, lower_is_better=True) for name in names]
    for line, seconds in zip(large, once(f"bench-{os.getpid()}", 100, 1000), strict=True):
        line.samples.append(Sample(seconds))
    return [small, Result("up: 100 nodes, then 1,000 ready pods", "s", large)]
