"""Startup, readiness and liveness probes: exec in the pod, httpGet and tcpSocket from the node's namespace.

Until a probe has succeeded for the first time it is repeated faster than its period (a pod that is up is noticed at
once); failures count by period only, as Kubernetes counts them.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from glasshive.errors import ManifestError

LOG = logging.getLogger(__name__)
FIRST_PERIOD_SECONDS = 0.2
START_SECONDS = 1.0
"""A container is given this long to begin before its life is doubted."""
HURRY_SECONDS = 10.0
"""How long the faster repetition lasts."""

Execute = Callable[[list[str], float], Awaitable[tuple[int, str]]]
"""Run argv in the container within seconds; its status and output."""


@dataclass(frozen=True)
class Probe:
    """One probe, with Kubernetes' defaults."""

    kind: str
    action: Mapping[str, Any]
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    successes: int = 1
    failures: int = 3

    @classmethod
    def of(cls, kind: str, spec: Mapping[str, Any]) -> Probe:
        """The probe of a manifest."""
        return cls(
            kind=kind,
            action=spec,
            initial_delay=float(spec.get("initialDelaySeconds") or 0),
            period=float(spec.get("periodSeconds") or 10),
            timeout=float(spec.get("timeoutSeconds") or 1),
            successes=int(spec.get("successThreshold") or 1),
            failures=int(spec.get("failureThreshold") or 3),
        )


@dataclass(frozen=True)
class Subject:
    """Who is probed. ``ports`` are the container's named ports."""

    host: str
    ports: Mapping[str, int] = field(default_factory=dict)


async def check(probe: Probe, subject: Subject, execute: Execute) -> tuple[bool, str]:
    """Probe once; whether it succeeded, and what was seen if not."""
    try:
        async with asyncio.timeout(probe.timeout + (1.0 if "exec" in probe.action else 0.0)):
            if "exec" in probe.action:
                status, output = await execute(list(probe.action["exec"].get("command") or []), probe.timeout)
                return status == 0, output.strip()[:500] or f"exit status {status}"
            if "httpGet" in probe.action:
                return await _http(probe.action["httpGet"], subject)
            if "tcpSocket" in probe.action:
                return await _tcp(probe.action["tcpSocket"], subject)
    except TimeoutError:
        return False, f"no answer within {probe.timeout:g} s"
    except (OSError, aiohttp.ClientError) as error:
        return False, str(error)
    raise ManifestError(f"{probe.kind} probe: unknown action", hint="use exec, httpGet or tcpSocket")


def _port(port: Any, subject: Subject) -> int:
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    if port not in subject.ports:
        raise ManifestError(f"probe port {port!r} is not a named port of the container")
    return subject.ports[port]


async def _http(action: Mapping[str, Any], subject: Subject) -> tuple[bool, str]:
    host = action.get("host") or subject.host
    scheme = str(action.get("scheme") or "HTTP").lower()
    path = "/" + str(action.get("path") or "/").lstrip("/")
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{_port(action['port'], subject)}{path}"
    headers = {h["name"]: h["value"] for h in action.get("httpHeaders") or []}
    context = ssl._create_unverified_context() if scheme == "https" else None  # noqa: S323, SLF001 - kubelets do not check either
    connector = aiohttp.TCPConnector(force_close=True, ssl=context or True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url, headers=headers, allow_redirects=False) as answer,
    ):
        if 200 <= answer.status < 400:
            return True, ""
        return False, f"HTTP probe failed with statuscode: {answer.status}"


async def _tcp(action: Mapping[str, Any], subject: Subject) -> tuple[bool, str]:
    _, writer = await asyncio.open_connection(action.get("host") or subject.host, _port(action["port"], subject))
    writer.close()
    return True, ""


class Prober:
    """Repeats one probe of one run of a container and tells ``changed`` about every change of verdict.

    ``changed(True)`` after enough successes, ``changed(False)`` after enough failures; ``failed`` gets each failure's
    text.
    """

    def __init__(
        self,
        probe: Probe,
        subject: Subject,
        execute: Execute,
        changed: Callable[[bool], None],
        failed: Callable[[str], None],
    ) -> None:
        self._probe = probe
        self._subject = subject
        self._execute = execute
        self._changed = changed
        self._failed = failed

    async def run(self) -> None:
        """Probe until cancelled; a startup probe ends with its first verdict."""
        loop = asyncio.get_running_loop()
        probe = self._probe
        await asyncio.sleep(max(probe.initial_delay, START_SECONDS if probe.kind == "liveness" else 0.0))
        begun = counted = loop.time() - probe.period
        verdict: bool | None = None
        run_good, run_bad = 0, 0
        while True:
            now = loop.time()
            good, text = await check(probe, self._subject, self._execute)
            hurried = verdict is None and now - begun < HURRY_SECONDS + probe.period and probe.kind != "liveness"
            if good or not hurried or now - counted >= probe.period:
                counted = now
                run_good, run_bad = (run_good + 1, 0) if good else (0, run_bad + 1)
                if not good:
                    self._failed(text)
            if good and run_good >= probe.successes and verdict is not True:
                verdict = True
                self._changed(True)
            elif not good and run_bad >= probe.failures and verdict is not False:
                verdict = False
                self._changed(False)
            if probe.kind == "startup" and verdict is not None:
                return
            await asyncio.sleep(min(FIRST_PERIOD_SECONDS, probe.period) if hurried and not good else probe.period)
