"""Checks by traffic: probes that must be answered, and probes that must not arrive.

A probe is sent by a process in a pod and carries a canary, 16 random hexadecimal digits. That nothing came back proves
little, so a denied probe must also show that the canary never reached the pod it was meant for, and that the same way
works otherwise: a server that is gone denies nothing.
"""

from __future__ import annotations

import inspect
import json
import secrets
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from glasshive.errors import GlasshiveError, NotFoundError
from glasshive.lab.checks import prober
from glasshive.lab.checks.capture import Capture, capture
from glasshive.lab.checks.outcome import bad, good
from glasshive.lab.grading.reader import ClusterReader
from glasshive.model.check_result import CheckResult

WAIT_SECONDS, SILENCE_SECONDS = 2.0, 0.5
"""So long may an answer take; so long is waited for one that must not come."""


@dataclass(frozen=True)
class Probe:
    """One attempt: ``source`` is a pod of the lab, ``target`` a pod of the lab, an address or (http, dns) a name.

    ``port``: of ``glasshive/echo``, 8080 is HTTP and 9000 an echo for TCP and UDP.
    ``size`` and ``whole`` (not to be fragmented) are for pings. ``family`` picks the pod's address.
    """

    source: str
    target: str
    port: int = 8080
    protocol: Literal["http", "tcp", "udp", "ping", "dns"] = "http"
    family: Literal["ipv4", "ipv6"] = "ipv4"
    size: int = 56
    whole: bool = False

    def __str__(self) -> str:
        port = "" if self.protocol in ("ping", "dns") else f":{self.port}"
        return f"{self.source} -> {self.target}{port} {self.protocol}" + (" ipv6" if self.family == "ipv6" else "")


@dataclass(frozen=True)
class Outcome:
    """What became of a probe: an answer, or an error; ``refused``: somebody said no, so the packet did arrive."""

    probe: Probe
    canary: str
    address: str
    answer: str = ""
    error: str = ""
    refused: bool = False


def both_families(*probes: Probe) -> list[Probe]:
    """Each probe over IPv4 and over IPv6."""
    return [replace(one, family=family) for one in probes for family in ("ipv4", "ipv6")]


def allowed(
    reader: ClusterReader, probes: Sequence[Probe], *, why: str = "", read: str = "", state: str = "no-answer"
) -> CheckResult:
    """Every probe is answered."""
    outcomes = send(reader, probes)
    failed = [f"{one.probe}: {one.error}" for one in outcomes if one.error]
    if failed:
        return bad("; ".join(failed), f"an answer to each of {len(outcomes)} probes", why=why, read=read, state=state)
    return good(f"answered: {', '.join(str(one.probe) for one in outcomes)}")


def denied(
    reader: ClusterReader, probes: Sequence[Probe], *, otherwise: Sequence[Probe], why: str = "", read: str = ""
) -> CheckResult:
    """No probe arrives, while ``otherwise`` (the same way, but for what forbids it) is answered.

    States: ``way-broken`` (nothing gets through, so nothing is shown), ``arrived``, ``answered``.
    """
    wanted = f"nothing arrives of: {', '.join(map(str, probes))}"
    with ExitStack() as stack:
        targets = {one.target for one in probes}
        captures = {pod: stack.enter_context(capture(reader, pod)) for pod in targets if reader.pod(pod)}
        outcomes = send(reader, probes, wait_s=SILENCE_SECONDS)
        control = [one for one in send(reader, otherwise) if one.error]
        leaks = [text for one in outcomes if (text := _leak(reader, one, captures.get(one.probe.target)))]
    if leaks:
        state = "answered" if any(one.answer for one in outcomes) else "arrived"
        return bad("; ".join(leaks), wanted, why=why, read=read, state=state)
    if control:
        told = "; ".join(f"{one.probe}: {one.error}" for one in control)
        return bad(f"{told}: the way itself does not work", f"{wanted}, while this works", state="way-broken")
    return good(f"did not arrive: {', '.join(map(str, probes))}; answered: {', '.join(map(str, otherwise))}")


def _leak(reader: ClusterReader, outcome: Outcome, seen: Capture | None) -> str:
    """Say how a probe got through, '' if it did not."""
    probe = outcome.probe
    if outcome.answer or outcome.refused:
        return f"{probe}: {outcome.answer or 'refused, so it arrived'}"
    if seen is None:
        return ""
    source = reader.address(probe.source, probe.family)
    arrived = probe.protocol != "ping" and seen.holds_syn(probe.port, source, udp=probe.protocol == "udp")
    if arrived or seen.holds(outcome.canary):
        return f"{probe}: no answer came back, but it arrived at {probe.target}"
    return ""


def send(reader: ClusterReader, probes: Iterable[Probe], *, wait_s: float = WAIT_SECONDS) -> list[Outcome]:
    """Send probes, those of different pods side by side; gives outcomes in the probes' order. Never raises for a pod
    that is not there: that is an outcome.
    """
    waiting = [_addressed(reader, one) for one in probes]
    sources = sorted({one.probe.source for one in waiting if not one.error})
    by_source = {name: [one for one in waiting if one.probe.source == name and not one.error] for name in sources}
    if not sources:
        return waiting
    with ThreadPoolExecutor(max_workers=len(sources)) as pool:
        done = pool.map(lambda name: _send_from(reader, name, by_source[name], wait_s), sources)
    finished = {one.canary: one for outcomes in done for one in outcomes}
    return [finished.get(one.canary, one) for one in waiting]


def _addressed(reader: ClusterReader, probe: Probe) -> Outcome:
    """Find out where a probe goes."""
    canary = secrets.token_hex(8)
    if probe.protocol == "dns":
        return Outcome(probe, canary, "")
    known = reader.pod(probe.target)
    if known is None:
        return Outcome(probe, canary, probe.target)  # an address, or a name that the pod itself asks for
    try:
        return Outcome(probe, canary, reader.address(probe.target, probe.family))
    except NotFoundError as trouble:
        return Outcome(probe, canary, "", error=trouble.message)


def _send_from(reader: ClusterReader, pod: str, outcomes: list[Outcome], wait_s: float) -> list[Outcome]:
    wishes = [
        {
            "protocol": one.probe.protocol, "address": one.address, "host": one.probe.target, "port": one.probe.port,
            "canary": one.canary, "wait_s": wait_s, "size": one.probe.size, "whole": one.probe.whole,
        }
        for one in outcomes
    ]  # fmt: skip
    try:
        done = reader.exec(
            pod, ["python3", "-I", "-S", "-c", _prober()], stdin=json.dumps(wishes), timeout_s=wait_s + 6
        )
    except NotFoundError as trouble:
        return [replace(one, error=trouble.message) for one in outcomes]
    try:
        answers: list[dict[str, Any]] = json.loads(done.stdout)
    except ValueError:
        told = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise GlasshiveError(f"the prober in pod {pod} did not work: {told}") from None
    return [replace(one, **answer) for one, answer in zip(outcomes, answers, strict=True)]


@cache
def _prober() -> str:
    return inspect.getsource(prober)
