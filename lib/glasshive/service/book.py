"""What all owners together want: one frontend per place, one backend per place, and who had to stand back.

An owner is a Service, a pod with host ports, or a redirect policy. Of several that want the same place the one with
the smallest ``order`` has it; the others are told so. Pure state, no I/O; ``take`` hands out what changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from glasshive.model.service import NO_TABLES, Backend, Frontend, Place, ServiceRef, ServiceTables

Owner = ServiceRef | str


class Clash(NamedTuple):
    """A place that ``loser`` wanted and ``holder`` has."""

    loser: Owner
    place: Place
    holder: Owner


class Changes(NamedTuple):
    """What is other than at the last ``take``; None: not there any more."""

    frontends: dict[Place, Frontend | None]
    backends: dict[Place, Backend | None]


class Book:
    """Owners' tables, joined."""

    def __init__(self) -> None:
        self._tables: dict[Owner, ServiceTables] = {}
        self._frontends: dict[Place, Frontend] = {}
        self._holder: dict[Place, Owner] = {}
        self._wanting: dict[Place, dict[Owner, Frontend]] = {}
        """Only places that more than one owner wants."""
        self._backends: dict[Place, Backend] = {}
        self._backend_owner: dict[Place, Owner] = {}
        self._shared: dict[Place, dict[Owner, Backend]] = {}
        """Only backends that more than one owner has."""
        self._dirty_frontends: dict[Place, None] = {}
        self._dirty_backends: dict[Place, None] = {}

    def set(self, owner: Owner, tables: ServiceTables) -> bool:
        """Replace what an owner wants; whether that is something else than before."""
        before = self._tables.get(owner, NO_TABLES)
        if before == tables:
            return False
        self._tables[owner] = tables
        if before.order != tables.order:
            self._drop_frontends(owner, before.frontends)
            before = before._replace(frontends=())
        wanted = _by_place(tables.frontends)
        self._drop_frontends(owner, (one for one in before.frontends if one.place not in wanted))
        for place, frontend in wanted.items():
            self._want(owner, place, frontend)
        has = dict(tables.backends)
        self._drop_backends(owner, (place for place, _ in before.backends if place not in has))
        for place, backend in has.items():
            self._have(owner, place, backend)
        return True

    def remove(self, owner: Owner) -> None:
        """An owner has gone."""
        before = self._tables.pop(owner, NO_TABLES)
        self._drop_frontends(owner, before.frontends)
        self._drop_backends(owner, (place for place, _ in before.backends))

    def take(self) -> Changes:
        """What has changed since the last time."""
        frontends = {place: self._frontends.get(place) for place in self._dirty_frontends}
        backends = {place: self._backends.get(place) for place in self._dirty_backends}
        self._dirty_frontends, self._dirty_backends = {}, {}
        return Changes(frontends, backends)

    def clashes(self) -> list[Clash]:
        """Everything that somebody wanted and did not get, in order."""
        return sorted(
            (
                Clash(owner, place, self._holder[place])
                for place, found in self._wanting.items()
                for owner in found
                if owner != self._holder[place]
            ),
            key=lambda one: (str(one.loser), one.place),
        )

    def owners(self) -> list[Owner]:
        """Everybody who has tables."""
        return list(self._tables)

    def tables(self, owner: Owner) -> ServiceTables:
        """What an owner wants."""
        return self._tables.get(owner, NO_TABLES)

    def frontends(self) -> dict[Place, Frontend]:
        """All frontends. Not to be changed."""
        return self._frontends

    def backends(self) -> dict[Place, Backend]:
        """All backends. Not to be changed."""
        return self._backends

    def holder(self, place: Place) -> Owner | None:
        """Who has a place."""
        return self._holder.get(place)

    # -- frontends

    def _want(self, owner: Owner, place: Place, frontend: Frontend) -> None:
        holder = self._holder.get(place)
        if holder is None or (holder == owner and place not in self._wanting):
            if self._frontends.get(place) != frontend:
                self._give(place, owner, frontend)
            return
        if place not in self._wanting:
            self._wanting[place] = {holder: self._frontends[place]}
        self._wanting[place][owner] = frontend
        self._settle(place)

    def _drop_frontends(self, owner: Owner, gone: Iterable[Frontend]) -> None:
        for place in dict.fromkeys(one.place for one in gone):
            wanting = self._wanting.get(place)
            if wanting is None:
                if self._holder.get(place) == owner:
                    del self._holder[place], self._frontends[place]
                    self._dirty_frontends[place] = None
                continue
            wanting.pop(owner, None)
            self._settle(place)

    def _settle(self, place: Place) -> None:
        wanting = self._wanting[place]
        winner = min(wanting, key=lambda owner: self._tables[owner].order)
        if self._holder[place] != winner or self._frontends[place] != wanting[winner]:
            self._give(place, winner, wanting[winner])
        if len(wanting) == 1:
            del self._wanting[place]

    def _give(self, place: Place, owner: Owner, frontend: Frontend) -> None:
        self._holder[place] = owner
        self._frontends[place] = frontend
        self._dirty_frontends[place] = None

    # -- backends

    def _have(self, owner: Owner, place: Place, backend: Backend) -> None:
        first = self._backend_owner.setdefault(place, owner)
        shared = self._shared.get(place)
        if shared is None and first != owner:
            shared = self._shared[place] = {first: self._backends[place]}
        if shared is not None:
            shared[owner] = backend
            backend = _joined(shared)
        if self._backends.get(place) != backend:
            self._backends[place] = backend
            self._dirty_backends[place] = None

    def _drop_backends(self, owner: Owner, places: Iterable[Place]) -> None:
        for place in places:
            shared = self._shared.get(place)
            if shared is None:
                del self._backends[place], self._backend_owner[place]
                self._dirty_backends[place] = None
                continue
            del shared[owner]
            self._backend_owner[place] = next(iter(shared))
            joined = _joined(shared)
            if len(shared) == 1:
                del self._shared[place]
            if self._backends[place] != joined:
                self._backends[place] = joined
                self._dirty_backends[place] = None


def _joined(shared: dict[Owner, Backend]) -> Backend:
    """A backend of several owners is as well as the one that thinks best of it: sets say who chooses it."""
    return min(shared.values(), key=lambda one: (one.state, -one.weight))


def _by_place(frontends: Iterable[Frontend]) -> dict[Place, Frontend]:
    """One owner's frontends; of two at the same place the first stands."""
    found: dict[Place, Frontend] = {}
    for one in frontends:
        found.setdefault(one.place, one)
    return found
