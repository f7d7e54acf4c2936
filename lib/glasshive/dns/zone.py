"""A zone: names, what they hold, and which of them exist. No wire format, no I/O.

Records come in groups (one per Service or Pod) that are replaced as a whole. A name may be in several groups (a pod
that two headless Services list has two PTR records): what they say is joined. A name above an existing one exists too,
with nothing of its own, so that a question for it gets an empty answer rather than "no such name" (RFC 8020).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from glasshive.dns.names import ancestors, plain

Types = Mapping[str, tuple[str, ...]]
"""Record type (``A``, ``SRV`` ...) -> data in presentation form, as in a zone file; names in it end with a dot."""
Records = Mapping[str, Types]
"""Owner name (see ``names``) -> its records."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a zone knows of a name: whether it exists, the data of the type asked for, and its alias if it is one.

    ``target`` is the alias's target name, "" if there is none or if CNAME itself was asked for.
    """

    exists: bool
    data: tuple[str, ...] = ()
    target: str = ""


class Zone:
    """Names below ``origins``. ``serial`` grows with every change and is the SOA's serial number."""

    def __init__(self, origins: Iterable[str], fixed: Records, *, serial: int = 1) -> None:
        self.origins = frozenset(plain(origin) for origin in origins)
        self.serial = serial
        self._groups: dict[Hashable, Records] = {}
        self._owners: dict[str, dict[Hashable, Types]] = {}
        self._below: dict[str, int] = {}  # how many entries of _owners are at or below a name
        self.put("", fixed)

    def __len__(self) -> int:
        return len(self._owners)

    def origin(self, name: str) -> str | None:
        """The innermost zone that a name belongs to, None if it is not ours."""
        return next((above for above in ancestors(name) if above in self.origins), None)

    def put(self, group: Hashable, records: Records) -> bool:
        """Make ``records`` all that a group holds; empty removes the group. Returns whether anything changed."""
        old = self._groups.get(group, {})
        if old == records:
            return False
        for name in old.keys() - records.keys():
            del self._owners[name][group]
            if not self._owners[name]:
                del self._owners[name]
                self._count(name, -1)
        for name, types in records.items():
            if name not in self._owners:
                self._owners[name] = {}
                self._count(name, 1)
            self._owners[name][group] = types
        if records:
            self._groups[group] = records
        else:
            del self._groups[group]
        self.serial += 1
        return True

    def look_up(self, name: str, type_: str) -> Found:
        """What there is for a question. ``name`` must belong to the zone."""
        groups = self._owners.get(name)
        if groups is None:
            return Found(name in self._below or name in self.origins)
        data = _joined(groups, type_)
        alias = () if data or type_ == "CNAME" else _joined(groups, "CNAME")
        return Found(True, data, plain(alias[0]) if alias else "")

    def _count(self, name: str, step: int) -> None:
        for above in ancestors(name):
            left = self._below.get(above, 0) + step
            if left:
                self._below[above] = left
            else:
                del self._below[above]
            if above in self.origins:
                return


def _joined(groups: Mapping[Hashable, Types], type_: str) -> tuple[str, ...]:
    if len(groups) == 1:
        return next(iter(groups.values())).get(type_, ())
    return tuple(dict.fromkeys(item for types in groups.values() for item in types.get(type_, ())))
