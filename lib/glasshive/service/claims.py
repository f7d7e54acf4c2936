"""Which Services want the same address and port for callers from outside, and who has it: the older one. Pure.

The datapath's tables settle it in the same order (``service.book``); here it is known for all nodes at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from glasshive.api.service import ANY_IPV4, ANY_IPV6
from glasshive.model.service import Place, Service, ServiceRef


class Lost(NamedTuple):
    """A place that a Service does not get, and who has it."""

    place: Place
    holder: ServiceRef


def places_of(service: Service) -> list[Place]:
    """Where a Service wants to be called from outside: node ports, external and load balancer addresses."""
    found = []
    for port in service.ports:
        if port.node_port:
            for wanted, anywhere in ((service.ipv4, ANY_IPV4), (service.ipv6, ANY_IPV6)):
                if wanted:
                    found.append(Place(anywhere, port.node_port, port.protocol))
        outer = (*service.external_addresses, *service.balancer_addresses)
        found += [Place(address, port.port, port.protocol) for address in outer]
    return list(dict.fromkeys(found))


class ServiceClaims:
    """All Services' wishes."""

    def __init__(self) -> None:
        self._places: dict[ServiceRef, tuple[str, tuple[Place, ...]]] = {}
        self._wanting: dict[Place, set[ServiceRef]] = {}

    def put(self, service: Service) -> set[ServiceRef]:
        """Replace a Service's wishes; returns the other Services for which that may change something."""
        return self._replace(service.ref, service.created, places_of(service))

    def remove(self, ref: ServiceRef) -> set[ServiceRef]:
        """Forget a Service; returns the others for which that may change something."""
        return self._replace(ref, "", [])

    def lost(self, ref: ServiceRef) -> list[Lost]:
        """The places that a Service wants and does not get."""
        found = []
        for place in self._places.get(ref, ("", ()))[1]:
            holder = min(self._wanting[place], key=self._order)
            if holder != ref:
                found.append(Lost(place, holder))
        return found

    def _order(self, ref: ServiceRef) -> tuple[str, str]:
        return self._places[ref][0], str(ref)

    def _replace(self, ref: ServiceRef, created: str, places: Iterable[Place]) -> set[ServiceRef]:
        age, before = self._places.pop(ref, ("", ()))
        wanted = tuple(places)
        touched: set[ServiceRef] = set()
        # One of another age may be another that was made under the same name: then it ranks anew for every place.
        for place in set(before) ^ set(wanted) if age == created else {*before, *wanted}:
            touched |= self._wanting.get(place, set())
        for place in set(before) - set(wanted):
            self._wanting[place].discard(ref)
            if not self._wanting[place]:
                del self._wanting[place]
        for place in wanted:
            self._wanting.setdefault(place, set()).add(ref)
        if wanted:
            self._places[ref] = (created, wanted)
        return touched - {ref}
