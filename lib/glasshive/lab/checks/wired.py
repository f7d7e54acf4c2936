"""Checks on a lab's wire: datagrams with canaries from end to end, and what the ends' own counters say.

The two ends send nothing by themselves, so every packet that a device counts is one that a check has sent.
"""

from __future__ import annotations

from pathlib import Path

from glasshive.lab.checks.outcome import bad, good, judged
from glasshive.lab.grading.reader import ClusterReader
from glasshive.lab.sources import parse_devices
from glasshive.lab.wire import Wire
from glasshive.model.check_result import CheckResult
from glasshive.net import netns

ENDS = ("left", "right")
ARRIVAL_SECONDS, SILENCE_SECONDS = 3.0, 0.5
"""So long may a datagram take; so long is waited for one that must not come."""


def wire(reader: ClusterReader) -> Wire:
    """The lab's wire; ask ``.up`` whether it is there."""
    return Wire(reader.cluster_name, reader.namespace)


def there(reader: ClusterReader) -> CheckResult:
    """All three namespaces are there."""
    return judged(
        wire(reader).up, "the wire is there" if wire(reader).up else "there is no wire", "left, mid and right"
    )


def arrives(reader: ClusterReader, source: str, port: int, count: int, *, why: str = "") -> CheckResult:
    """Every datagram arrives. States: ``nothing``, ``some``."""
    sent = wire(reader).send(source, port=port, count=count, wait_s=ARRIVAL_SECONDS)
    told = f"from {source}, {sent}"
    if sent.arrived == count:
        return good(told)
    return bad(told, f"{count} arrived", why=why, state="some" if sent.arrived else "nothing")


def stays_out(reader: ClusterReader, source: str, port: int, count: int, *, why: str = "") -> CheckResult:
    """No datagram arrives. State: ``arrived``."""
    sent = wire(reader).send(source, port=port, count=count, wait_s=SILENCE_SECONDS)
    return judged(sent.arrived == 0, f"from {source}, {sent}", "0 arrived", why=why, state="arrived")


def received(reader: ClusterReader) -> dict[str, int]:
    """Packets that each end's device has received so far."""
    names = {end: wire(reader).namespace(end) for end in ENDS}
    return {end: parse_devices(netns.in_netns(name, _read))["eth0"].packets_in for end, name in names.items()}


def _read() -> str:
    return Path("/proc/thread-self/net/dev").read_text(encoding="ascii")
