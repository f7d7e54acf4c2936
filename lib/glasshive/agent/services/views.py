"""Services as an agent shows them: what is wanted, with what the kernel has of it."""

from __future__ import annotations

from typing import Any

from glasshive.agent.services.feature import ServicesFeature
from glasshive.model.address import Address, is_ipv4, render
from glasshive.model.service import (
    TYPE_NAMES,
    Backend,
    BackendState,
    Frontend,
    FrontendFlag,
    Place,
    ServiceRef,
)
from glasshive.service.book import Owner
from glasshive.service.desired import Ends, ends_of
from glasshive.service.why import Scope, find, why


class ServiceViews:
    """Answers from the feature's own state."""

    def __init__(self, feature: ServicesFeature) -> None:
        self._feature = feature
        self._book = feature.sync.book

    def frontends(self) -> list[dict[str, Any]]:
        """Every frontend of the node with its backends, in the order of their ids."""
        rows = [self.frontend(one) for one in self._book.frontends().values()]
        return sorted(rows, key=lambda row: (row["id"], row["frontend"]))

    def frontend(self, frontend: Frontend) -> dict[str, Any]:
        """One frontend, with every backend that it has or could have."""
        place = frontend.place
        row = self._feature.sync.row(place)
        owner = self._book.holder(place)
        return {
            "id": row.id if row is not None else 0,
            "frontend": str(place),
            "address": render(place.address),
            "port": place.port,
            "protocol": place.protocol,
            "type": TYPE_NAMES[frontend.type],
            "owner": str(owner),
            "portName": frontend.port_name,
            "flags": [flag.name.lower() for flag in FrontendFlag(frontend.flags) if flag.name],
            "affinitySeconds": frontend.affinity_s,
            "sourceRanges": [str(one) for one in frontend.source_ranges],
            "backends": self._backends(frontend, owner),
        }

    def summary(self) -> list[dict[str, Any]]:
        """Services, those without frontends included, with what is wrong about each."""
        lost: dict[Owner, list[str]] = {}
        for clash in self._book.clashes():
            older = ", which is older" if isinstance(clash.holder, ServiceRef) else ""
            lost.setdefault(clash.loser, []).append(f"{clash.place} belongs to {clash.holder}{older}")
        rows = []
        for service in sorted(self._feature.sources.services(), key=lambda one: one.ref):
            slices = self._feature.sources.slices(service.ref)
            endpoints = {one.address for part in slices for one in part.endpoints}
            rows.append(
                {
                    "namespace": service.ref.namespace,
                    "name": service.ref.name,
                    "type": service.type,
                    "headless": service.headless,
                    "externalName": service.external_name,
                    "selects": service.selects,
                    "answeredHere": bool(self._feature.node.answered_here.intersection(service.cluster_addresses)),
                    "endpoints": len(endpoints),
                    "frontends": len(self._book.tables(service.ref).frontends),
                    "findings": [f"{one.field}: {one.text}" for one in service.findings],
                    "clashes": lost.get(service.ref, []),
                    "conditions": [one._asdict() for one in service.conditions],
                }
            )
        return rows

    def why(self, place: Place, scope: Scope, source: Address | None, nodes: frozenset[Address]) -> dict[str, Any]:
        """Which frontend a call meets, who may be chosen for it, and why the others may not. ``nodes``: addresses."""
        frontend = find(self._book, place, nodes)
        if frontend is None:
            return {"call": str(place), "scope": scope, "frontend": None, "refused": self._unknown(place)}
        ends = self._ends(frontend, self._book.holder(frontend.place))
        found = why(frontend, scope, source, ends, self._book.backends())
        reasons = {str(place): text for place, text in found.backends}
        row = self.frontend(frontend)
        row["backends"] = [{**one, "why": reasons.get(one["backend"], "")} for one in row["backends"]]
        hinted = ends.choice.hinted if ends is not None else ""
        return {"call": str(place), "scope": scope, "frontend": row, "refused": found.refused, "hinted": hinted,
                "clashes": self._clashes_at(frontend.place)}  # fmt: skip

    def _clashes_at(self, place: Place) -> list[str]:
        return [f"{one.loser} wanted it too" for one in self._book.clashes() if one.place == place]

    def _unknown(self, place: Place) -> str:
        """Why nothing is known of a place."""
        if place.address in self._feature.node.answered_here:
            return "the node itself answers at this address: calls are not translated"
        ports = sorted(str(one) for one in self._book.frontends() if one.address == place.address)
        if ports:
            return f"no service has this port there; there are {', '.join(ports)}"
        endpoint = [
            str(service.ref)
            for service in self._feature.sources.services()
            for part in self._feature.sources.slices(service.ref)
            if any(one.address == place.address for one in part.endpoints)
        ]
        if endpoint:
            return f"this is the address of an endpoint of {', '.join(endpoint)}: calls go to it as they are"
        return "no service is there: calls are not translated"

    def _backends(self, frontend: Frontend, owner: Owner | None) -> list[dict[str, Any]]:
        internal, external = dict(frontend.internal), dict(frontend.external)
        ends = self._ends(frontend, owner)
        known = dict(zip(ends.places, range(len(ends.places)), strict=True)) if ends else {}
        rows = []
        for place in sorted({*internal, *external, *known}):
            facts = self._book.backends().get(place, Backend(BackendState.GONE))
            at = known.get(place)
            endpoint = ends.endpoints[at] if ends is not None and at is not None else None
            rows.append(
                {
                    "number": self._feature.sync.number_of(place),
                    "backend": str(place),
                    "address": render(place.address),
                    "port": place.port,
                    "state": facts.state.name.lower(),
                    "local": facts.local,
                    "node": endpoint.node if endpoint else "",
                    "zone": facts.zone,
                    "weight": facts.weight,
                    "pod": endpoint.pod if endpoint else "",
                    "internal": place in internal,
                    "external": place in external,
                    "refused": ends.choice.refused[at] if ends is not None and at is not None else "",
                }
            )
        return rows

    def _ends(self, frontend: Frontend, owner: Owner | None) -> Ends | None:
        """The endpoints from which a Service's frontend chose."""
        feature = self._feature
        service = feature.sources.service(owner) if isinstance(owner, ServiceRef) else None
        if service is None:
            return None
        place = frontend.place
        for port in service.ports:
            if port.name == frontend.port_name and port.protocol == place.protocol:
                slices = feature.sources.slices(service.ref)
                return ends_of(service, port, slices, feature.node, feature.settings, ipv4=is_ipv4(place.address))
        return None
