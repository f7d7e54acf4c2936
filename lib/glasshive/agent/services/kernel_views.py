"""Service tables as they are in the kernel, whatever the agent believes: for ``glasshive bpf lb list``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from glasshive.agent.services.feature import ServicesFeature
from glasshive.bpf import Map
from glasshive.errors import NotFoundError
from glasshive.maps.affinity import NAME as AFFINITY
from glasshive.maps.maglev import NAME as TABLES
from glasshive.maps.services import BACKENDS, LOCAL, SLOTS, FrontendRow, SetRow
from glasshive.model.address import render
from glasshive.model.service import TYPE_NAMES, BackendState, FrontendFlag, FrontendType, Place

Rows = list[dict[str, Any]]
_SECOND_NS = 1_000_000_000


class KernelViews:
    """Reads the maps anew for each question."""

    def __init__(self, feature: ServicesFeature, maps: Mapping[str, Map]) -> None:
        self._kernel = feature.kernel
        self._settings = feature.settings
        self._maps = maps
        self._tables: dict[str, Callable[[], Rows]] = {
            "services": self.services,
            "frontends": self.frontends,
            "backends": self.backends,
            "revnat": self.revnat,
            "maglev": self.maglev,
            "affinity": self.affinity,
            "source-ranges": self.source_ranges,
        }

    def table(self, name: str) -> Rows:
        """One table's rows; NotFoundError."""
        if name not in self._tables:
            raise NotFoundError(f"there is no table {name}", hint=f"there are {', '.join(self._tables)}")
        return self._tables[name]()

    def entries(self, name: str) -> Rows | None:
        """An array of ``glasshive maps`` without its empty elements; None for maps that are shown as others are."""
        if name == BACKENDS:
            return self.backends()
        if name == SLOTS:
            slots = self._kernel.slots()
            return [{"slot": at, "backend": int(slots[at])} for at in np.flatnonzero(slots).tolist()]
        return self.maglev() if name == TABLES else None

    def frontends(self) -> Rows:
        """Frontends without their backends."""
        found = sorted(self._kernel.frontends().items(), key=lambda one: one[1].id)
        return [_frontend(place, row) for place, row in found]

    def services(self) -> Rows:
        """Frontends, each with the backends in its slots."""
        found = sorted(self._kernel.frontends().items(), key=lambda one: one[1].id)
        slots, backends = self._kernel.slots(), self._kernel.backends()

        def members(one: SetRow) -> Rows:
            numbers = slots[one.first : one.first + one.size].tolist()
            return [{"slot": at, "number": number, "backend": str(backends[number].place) if number in backends else ""}
                    for at, number in enumerate(numbers, 1)]  # fmt: skip

        return [
            {**_frontend(place, row), "internal": members(row.internal), "external": members(row.external)}
            for place, row in found
        ]

    def backends(self) -> Rows:
        """Backends by number, resting ones included."""
        return [
            {
                "id": number,
                "backend": str(row.place),
                "state": BackendState(row.state).name.lower(),
                "local": bool(row.flags & LOCAL),
                "zone": row.zone,
                "weight": row.weight,
            }
            for number, row in sorted(self._kernel.backends().items())
        ]

    def revnat(self) -> Rows:
        """Ids of frontends, and the address that answers bear."""
        found = [(row.id, str(place)) for place, row in self._kernel.frontends().items()]
        return [{"id": number, "address": text} for number, text in sorted(found)]

    def maglev(self) -> Rows:
        """Tables: whose they are, and how many slots each backend has."""
        tables = self._kernel.tables
        if tables is None:
            return []
        names = {number: str(row.place) for number, row in self._kernel.backends().items()}
        users: dict[int, list[str]] = {}
        for place, row in self._kernel.frontends().items():
            if row.external.table:
                users.setdefault(row.external.table, []).append(str(place))
        rows = []
        for number, places in sorted(users.items()):
            held = Counter(tables.get(number, self._settings.table_size).tolist())
            shares = {names.get(one, str(one)): count for one, count in sorted(held.items())}
            rows.append({"table": number, "frontends": sorted(places), "slots": sum(held.values()), "backends": shares})
        return rows

    def affinity(self) -> Rows:
        """Who goes back to which backend."""
        kernel = self._maps.get(AFFINITY)
        if kernel is None:
            return []
        frontends = {row.id: str(place) for place, row in self._kernel.frontends().items()}
        backends = {number: str(row.place) for number, row in self._kernel.backends().items()}
        keys, values = kernel.items()
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        rows = []
        for key, value in zip(keys, values, strict=True):
            raw = key["client"].tobytes()
            inside = raw[8:] == b"\xff" * 8
            client = f"netns cookie {int.from_bytes(raw[:8], 'little')}" if inside else render(raw)
            rows.append(
                {
                    "id": int(key["frontend"]),
                    "frontend": frontends.get(int(key["frontend"]), ""),
                    "client": client,
                    "backendId": int(value["backend"]),
                    "backend": backends.get(int(value["backend"]), ""),
                    "idleSeconds": max(0, now_ns - int(value["used_ns"])) // _SECOND_NS,
                }
            )
        return sorted(rows, key=lambda row: (row["id"], row["client"]))

    def source_ranges(self) -> Rows:
        """From where frontends may be called."""
        frontends = {row.id: (str(place), row) for place, row in self._kernel.frontends().items()}
        rows = []
        for number, prefix in sorted(self._kernel.ranges()):
            place, row = frontends.get(number, ("", None))
            denies = row is not None and row.flags & FrontendFlag.SOURCE_DENY
            rows.append(
                {"id": number, "frontend": place, "range": str(prefix), "policy": "deny" if denies else "allow"}
            )
        return rows


def _frontend(place: Place, row: FrontendRow) -> dict[str, Any]:
    flags = FrontendFlag(row.flags)
    return {
        "id": row.id,
        "frontend": str(place),
        "type": TYPE_NAMES[FrontendType(row.type)],
        "routable": bool(flags & FrontendFlag.ROUTABLE),
        "flags": [flag.name.lower() for flag in flags if flag.name],
        "affinitySeconds": row.affinity_s,
        "internalCount": row.internal.size,
        "externalCount": row.external.size,
        "maglevTable": row.external.table,
    }
