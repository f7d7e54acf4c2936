"""Why a call ends where it does: the frontend that matched, who may be chosen, and why others may not. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from glasshive.api.service import ANY_IPV4, ANY_IPV6
from glasshive.model.address import Address, Prefix, covers, is_ipv4
from glasshive.model.service import Backend, BackendState, Frontend, FrontendFlag, Place
from glasshive.service.book import Book
from glasshive.service.choose import NO_WEIGHT, NOT_LOCAL, NOT_READY, TERMINATING
from glasshive.service.desired import Ends

Scope = Literal["internal", "external"]

_STATES = {
    BackendState.TERMINATING: TERMINATING,
    BackendState.QUARANTINED: NOT_READY,
    BackendState.MAINTENANCE: NO_WEIGHT,
}


class Verdict(NamedTuple):
    """``refused`` is why the call as such gets nowhere, "" if it does not fail for that."""

    frontend: Frontend | None
    refused: str
    backends: tuple[tuple[Place, str], ...] = ()
    """Each with why it is not chosen; "" for those that may be."""


def find(book: Book, place: Place, node_addresses: frozenset[Address]) -> Frontend | None:
    """The frontend that a packet to ``place`` meets on a node: its own place, else one of any node's address."""
    exact = book.frontends().get(place)
    if exact is not None or place.address not in node_addresses:
        return exact
    return book.frontends().get(place._replace(address=ANY_IPV4 if is_ipv4(place.address) else ANY_IPV6))


def why(
    frontend: Frontend, scope: Scope, source: Address | None, ends: Ends | None, backends: dict[Place, Backend]
) -> Verdict:
    """Decide as the datapath does, for a caller inside the cluster or outside of it at ``source``."""
    chosen = dict(frontend.internal if scope == "internal" else frontend.external)
    refused = _refused(frontend, scope, source)
    known = dict(zip(ends.places, ends.choice.refused, strict=True)) if ends else {}
    other = dict(frontend.external if scope == "internal" else frontend.internal)
    found = []
    for place in sorted({*chosen, *other, *known}):
        text = "" if place in chosen else known.get(place, "")
        if place not in chosen and not text:
            state = backends.get(place, Backend()).state
            text = _STATES.get(state, NOT_LOCAL if _local_only(frontend, scope) else "not chosen")
        found.append((place, text))
    if not refused and not chosen:
        answer = "is refused" if frontend.flags & FrontendFlag.REJECT else "gets no answer"
        refused = f"there is no backend for it here: the call {answer}"
    return Verdict(frontend, refused, tuple(found))


def _local_only(frontend: Frontend, scope: Scope) -> bool:
    wanted = FrontendFlag.INTERNAL_LOCAL if scope == "internal" else FrontendFlag.EXTERNAL_LOCAL
    return bool(frontend.flags & wanted)


def _refused(frontend: Frontend, scope: Scope, source: Address | None) -> str:
    if scope == "internal":
        return ""
    if not frontend.flags & FrontendFlag.ROUTABLE:
        return "it cannot be called from outside the cluster (drop: Is a ClusterIP)"
    if not frontend.flags & FrontendFlag.SOURCE_RANGES or source is None:
        return ""
    inside = any(covers(one, Prefix.host(source)) for one in frontend.source_ranges)
    denies = bool(frontend.flags & FrontendFlag.SOURCE_DENY)
    if inside != denies:
        return ""
    ranges = ", ".join(str(one) for one in frontend.source_ranges) or "nobody"
    word = "denies" if denies else "admits only"
    return f"the service {word} {ranges} (drop: Denied by LB src range check)"
