"""Feature "drops": counters per reason and direction, and the last records of dropped packets and of verdicts.

The datapath writes records without waking anybody; they are fetched at a steady pace, and when somebody asks.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any

from glasshive.agent import background
from glasshive.agent.objects import Objects, needed
from glasshive.bpf.layout import Records, dtype_of
from glasshive.bpf.ring import RingBuffer
from glasshive.maps import drops
from glasshive.maps.drops import DropNames
from glasshive.model.address import render

KEPT = 1024
"""How many records are kept for those who ask later."""
PACE_SECONDS = 0.5


class DropWatch:
    """Reads the map ``drops`` and the ring ``events``."""

    def __init__(self, objects: Objects, names: DropNames) -> None:
        self._names = names
        self._counts = needed(objects, "maps", drops.NAME)
        self._drop_type = objects.number("gh_record_type", "GH_RECORD_DROP")
        self._lost = objects.maps.get("events_lost")
        self._ring = RingBuffer(needed(objects, "maps", "events"), dtype_of(objects.btf, "gh_record"))
        self._records: deque[Any] = deque(maxlen=KEPT)
        self._verdict_type = objects.number("gh_record_type", "GH_RECORD_VERDICT")
        self._verdicts: deque[Any] = deque(maxlen=KEPT)
        self._matches = {int(one): _word(one.name, "GH_POLICY_MATCH_") for one in objects.enum("gh_policy_match")}
        self._words = {int(one): _word(one.name, "GH_POLICY_") for one in objects.enum("gh_policy_verdict")}
        self._audited = objects.number("gh_record_flags", "GH_RECORD_AUDITED")
        self._reply = objects.number("gh_record_flags", "GH_RECORD_REPLY")
        self._seen = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to fetch records."""
        self._task = background.start(self._run(), "drop-watch")

    async def stop(self) -> None:
        """End."""
        await background.stop(self._task)
        self._ring.close()

    def status(self) -> dict[str, Any]:
        """How many records were seen and how many got lost because the ring was full."""
        return {"records": self._seen, "lost": self.lost}

    @property
    def lost(self) -> int:
        """Records that found the ring full."""
        if self._lost is None:
            return 0
        value = self._lost.get(0)
        return int(value.sum()) if value is not None else 0

    def counts(self) -> list[dict[str, Any]]:
        """Rows of reason, direction, packets, bytes."""
        return drops.as_json(drops.counts(self._counts, self._names))

    def records(self, limit: int = KEPT) -> list[dict[str, Any]]:
        """The last records of dropped packets, oldest first."""
        self.fetch()
        recent = list(self._records)[-limit:] if limit > 0 else []
        return [self._row(record) for record in recent]

    def verdicts(self, limit: int = KEPT) -> list[dict[str, Any]]:
        """The last verdicts of policy, oldest first: what it said of connections when they began or were cut."""
        self.fetch()
        recent = list(self._verdicts)[-limit:] if limit > 0 else []
        return [self._row(record) for record in recent]

    def fetch(self) -> None:
        """Take what is in the ring."""
        taken: Records = self._ring.take()
        found = taken[taken["type"] == self._drop_type]
        self._seen += len(found)
        self._records.extend(found[-KEPT:])
        self._verdicts.extend(taken[taken["type"] == self._verdict_type][-KEPT:])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PACE_SECONDS)
            self.fetch()

    def _row(self, record: Any) -> dict[str, Any]:
        return {
            "timeNs": int(record["time_ns"]),
            "reason": self._names.reason(int(record["reason"])),
            "direction": self._names.direction(int(record["direction"])),
            "source": render(record["src"].tobytes()),
            "destination": render(record["dst"].tobytes()),
            "sourcePort": int(record["sport"]),
            "destinationPort": int(record["dport"]),
            "protocol": _protocol(int(record["protocol"])),
            "icmpType": int(record["icmp_type"]),
            "icmpCode": int(record["icmp_code"]),
            "etherType": int(record["ether_type"]),
            "sourceIdentity": int(record["src_identity"]),
            "destinationIdentity": int(record["dst_identity"]),
            "ifindex": int(record["ifindex"]),
            "bytes": int(record["bytes"]),
            **self._judgement(record),
        }

    def _judgement(self, record: Any) -> dict[str, Any]:
        """What policy said; nothing where it was not asked."""
        verdict = int(record["verdict"])
        if not verdict:
            return {}
        flags = int(record["flags"])
        return {
            "verdict": self._words.get(verdict, str(verdict)),
            "match": self._matches.get(int(record["match"]), ""),
            "audited": bool(flags & self._audited),
            "reply": bool(flags & self._reply),
            "policy": int(record["policy"]) >> 1,
            "policyDirection": "egress" if int(record["policy"]) & 1 else "ingress",
            "peer": int(record["peer"]),
            "rule": int(record["rule"]),
            "endpoint": int(record["endpoint"]),
        }


def _word(member: str, prefix: str) -> str:
    return member.removeprefix(prefix).lower().replace("_", "-")


_PROTOCOLS = {
    socket.IPPROTO_TCP: "TCP",
    socket.IPPROTO_UDP: "UDP",
    socket.IPPROTO_ICMP: "ICMP",
    socket.IPPROTO_ICMPV6: "ICMPv6",
    socket.IPPROTO_SCTP: "SCTP",
}


def _protocol(number: int) -> str:
    return _PROTOCOLS.get(number, str(number))
