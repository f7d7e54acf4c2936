"""What both modes share: who a frontend belongs to, names of chains, addresses as text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from glasshive.api.service import ANY_IPV4, ANY_IPV6
from glasshive.model.address import Prefix, is_ipv4, render
from glasshive.model.service import Frontend, FrontendFlag, Place

MASQUERADE_MARK = "0x4000"
PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
DIGEST_LETTERS = 16


class Owned(NamedTuple):
    """A frontend and the name of who has it: ``namespace/name:port``."""

    owner: str
    frontend: Frontend


class PeerNode(NamedTuple):
    """The node whose rules are made: its own pods' prefixes, and every prefix that packets reach unmasqueraded."""

    pods: tuple[Prefix, ...]
    cluster: tuple[Prefix, ...]


def named(owner: object, frontend: Frontend) -> Owned:
    """As kube-proxy calls a port of a service."""
    return Owned(f"{owner}:{frontend.port_name}" if frontend.port_name else str(owner), frontend)


def digest(*parts: str) -> str:
    """Sixteen letters and digits that stand for a name too long for a chain."""
    raw = hashlib.sha256("".join(parts).encode()).digest()
    return base64.b32encode(raw).decode()[:DIGEST_LETTERS]


def of_family(found: Iterable[Owned], *, ipv4: bool) -> list[Owned]:
    """Those of one family, in an order that does not depend on how they came."""
    mine = [one for one in found if is_ipv4(one.frontend.place.address) == ipv4]
    return sorted(mine, key=lambda one: (one.owner, one.frontend.place))


def cidr(prefixes: Iterable[Prefix], *, ipv4: bool) -> list[str]:
    """Prefixes of one family as text."""
    return [str(one) for one in prefixes if one.is_ipv4 == ipv4]


def target(place: Place) -> str:
    """Where to send packets, as both tools write it."""
    text = render(place.address)
    return f"[{text}]:{place.port}" if ":" in text else f"{text}:{place.port}"


def on_any_node(place: Place) -> bool:
    """A node port: the frontend is at every address of every node."""
    return place.address in (ANY_IPV4, ANY_IPV6)


def has(frontend: Frontend, flag: FrontendFlag) -> bool:
    """Whether a frontend has a flag."""
    return bool(frontend.flags & flag)
