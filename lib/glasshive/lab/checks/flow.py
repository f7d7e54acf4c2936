"""Checks by what the datapath says of packets: records of drops and of policy's verdicts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from glasshive.lab.checks.outcome import bad, judged
from glasshive.lab.checks.probe import Outcome, Probe, send
from glasshive.lab.grading.reader import ClusterReader
from glasshive.model.check_result import CheckResult

RECORD_SECONDS = 0.3
"""So long is an answer waited for that should not come: the record, not the silence, is the proof."""


def dropped(
    reader: ClusterReader, probes: Sequence[Probe], reason: str, *, node: str = "", why: str = "", read: str = ""
) -> CheckResult:
    """Every probe is dropped for this reason, on this node if one is named, as the drop records say.

    States: ``answered``, ``no-record``, ``other-reason``.
    """
    since_ns = time.monotonic_ns()
    outcomes = send(reader, probes, wait_s=RECORD_SECONDS)
    records = records_since(reader, since_ns)
    wanted = f"{', '.join(map(str, probes))} dropped for the reason {reason}" + (f" on {node}" if node else "")
    for one in outcomes:
        if one.answer:
            return bad(f"{one.probe} was answered", wanted, why=why, read=read, state="answered")
        mine = [(where, row) for where, row in records if _is_of(reader, row, one)]
        if not mine:
            return bad(f"no node has a record of {one.probe}", wanted, why=why, read=read, state="no-record")
        right = any(row["reason"] == reason and node in ("", where) for where, row in mine)
        if not right:
            told = ", ".join(sorted({f"{row['reason']} on {where}" for where, row in mine}))
            return bad(f"{one.probe} was dropped: {told}", wanted, why=why, read=read, state="other-reason")
    return judged(True, f"dropped for the reason {reason}: {', '.join(map(str, probes))}", wanted)


def none_dropped(reader: ClusterReader, probes: Sequence[Probe], *, why: str = "", read: str = "") -> CheckResult:
    """Every probe is answered, and no node drops a packet of it. States: ``no-answer``, ``dropped``."""
    since_ns = time.monotonic_ns()
    outcomes = send(reader, probes)
    records = records_since(reader, since_ns)
    wanted = f"{', '.join(map(str, probes))} answered, nothing dropped"
    silent = [f"{one.probe}: {one.error}" for one in outcomes if one.error]
    lost = [
        f"{where} dropped {one.probe}: {row['reason']}"
        for one in outcomes
        for where, row in records
        if _is_of(reader, row, one)
    ]
    if silent or lost:
        state = "dropped" if lost else "no-answer"
        return bad("; ".join([*silent, *sorted(set(lost))]), wanted, why=why, read=read, state=state)
    return judged(True, f"answered, nothing dropped: {', '.join(map(str, probes))}", wanted)


def judged_as(
    reader: ClusterReader, probes: Sequence[Probe], verdict: str, *, match: str = "", why: str = "", read: str = ""
) -> CheckResult:
    """Policy says this of every probe's first packet: ``allow``, ``deny-default`` or ``deny-rule``.

    ``match``: what decided, as the record names it (``l3-only``, ``l3-l4`` ...). States: ``no-record``,
    ``other-verdict``.
    """
    since_ns = time.monotonic_ns()
    outcomes = send(reader, probes, wait_s=RECORD_SECONDS)
    records = records_since(reader, since_ns, "/v1/verdict-records")
    wanted = f"{verdict} for {', '.join(map(str, probes))}" + (f", decided by {match}" if match else "")
    for one in outcomes:
        mine = [row for _, row in records if _is_of(reader, row, one)]
        if not mine:
            return bad(f"policy was not asked about {one.probe}", wanted, why=why, read=read, state="no-record")
        if not any(row["verdict"] == verdict and match in ("", row["match"]) for row in mine):
            told = ", ".join(sorted({f"{row['verdict']} ({row['match']})" for row in mine}))
            return bad(f"policy said of {one.probe}: {told}", wanted, why=why, read=read, state="other-verdict")
    return judged(True, f"{verdict}: {', '.join(map(str, probes))}", wanted)


def records_since(
    reader: ClusterReader, since_ns: int, path: str = "/v1/drop-records"
) -> list[tuple[str, dict[str, Any]]]:
    """(node, record) of every packet dropped (or judged) since a moment of CLOCK_MONOTONIC, nanoseconds."""
    return [
        (node.name, row)
        for node in reader.nodes()
        for row in reader.ask(node.name, path)["records"]
        if row["timeNs"] >= since_ns
    ]


def _is_of(reader: ClusterReader, row: dict[str, Any], outcome: Outcome) -> bool:
    """Whether a record is of a probe's packets, in its direction."""
    probe = outcome.probe
    if (row["source"], row["destination"]) != (reader.address(probe.source, probe.family), outcome.address):
        return False
    return probe.protocol in ("ping", "dns") or row["destinationPort"] == probe.port
