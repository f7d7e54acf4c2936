"""Address blocks that rules name get an identity of their own, which counts on this node only.

A packet from outside of the cluster has no endpoint's identity; what a CIDR rule says of it hangs on the longest block
around its address that some rule names. So every prefix and every except becomes an identity (the whole of a family is
``world`` already), and a rule selects the identities of the blocks inside it (reference/features.md, 2.1 to 2.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from glasshive.errors import ExhaustedError, UsageError
from glasshive.model.address import V4_OFFSET, Prefix
from glasshive.model.identity import Identity
from glasshive.model.labels import SOURCE_RESERVED, Label, Labels
from glasshive.model.policy import CidrPeer, Rule

SOURCE_CIDR = "cidr"
LOCAL_SCOPE = 1 << 24
"""Identities of this node's own begin above; their lower 24 bits count."""
_LOCAL_MAX = (1 << 24) - 1


def inside(inner: Prefix, outer: Prefix) -> bool:
    """Whether every address of ``inner`` is one of ``outer``. IPv4 is not inside of ::/0."""
    if inner.length < outer.length or inner.is_ipv4 != outer.is_ipv4:
        return False
    drop = 128 - outer.length
    return int.from_bytes(inner.address, "big") >> drop == int.from_bytes(outer.address, "big") >> drop


def is_family(prefix: Prefix) -> bool:
    """Whether it is the whole of IPv4 or IPv6: that is the world, no block of its own."""
    return prefix.length == (V4_OFFSET if prefix.is_ipv4 else 0)


def label_of(prefix: Prefix) -> Label:
    """``cidr:10.0.0.0/8``; in IPv6 every ":" is written "-", and one at either end gets a "0"."""
    address, _, length = str(prefix).partition("/")
    text = address.replace(":", "-")
    text = "0" + text if text.startswith("-") else text
    text = text + "0" if text.endswith("-") else text
    return Label(SOURCE_CIDR, f"{text}/{length}")


def prefix_of(label: Label) -> Prefix | None:
    """The prefix of a ``cidr:`` label; None for other labels and for what is none."""
    if label.source != SOURCE_CIDR:
        return None
    text = label.key if "." in label.key else label.key.replace("-", ":")
    try:
        return Prefix.parse(text)
    except UsageError:
        return None


def named_by(rules: Iterable[Rule]) -> set[Prefix]:
    """Every prefix and except that rules mention, the families' whole left out."""
    peers = (peer for rule in rules for peer in rule.peers or () if isinstance(peer, CidrPeer))
    return {one for peer in peers for one in (peer.prefix, *peer.excepts) if not is_family(one)}


class PrefixIdentities:
    """Prefix -> identity, for as long as somebody names the prefix. A number is not given again until all were used.

    ``restored``: numbers of an earlier life of the agent; a prefix found there keeps its number.
    """

    def __init__(self, *, dual_stack: bool, restored: Mapping[Prefix, int] | None = None) -> None:
        self._dual_stack = dual_stack
        self._identities: dict[Prefix, Identity] = {}
        self._users: dict[Prefix, int] = {}
        self._remembered = dict(restored or {})
        self._taken = {number & _LOCAL_MAX for number in self._remembered.values()}
        self._last = max(self._taken, default=0)

    def acquire(self, prefix: Prefix) -> Identity | None:
        """One more user of a prefix; returns its identity when it is new."""
        self._users[prefix] = self._users.get(prefix, 0) + 1
        if prefix in self._identities:
            return None
        number = self._remembered.pop(prefix, 0) or self._free()
        identity = self._identities[prefix] = Identity(number, self.labels(prefix))
        return identity

    def release(self, prefix: Prefix) -> Identity | None:
        """One user less; returns the identity when it was the last."""
        self._users[prefix] -= 1
        if self._users[prefix]:
            return None
        del self._users[prefix]
        identity = self._identities.pop(prefix)
        self._taken.discard(identity.number & _LOCAL_MAX)
        return identity

    def get(self, prefix: Prefix) -> Identity | None:
        """The identity of exactly this prefix."""
        return self._identities.get(prefix)

    def covering(self, prefix: Prefix) -> Identity | None:
        """The identity of the longest known block around a prefix (an address is /128), as the ipcache finds it."""
        around = [one for one in self._identities if inside(prefix, one)]
        return self._identities[max(around)] if around else None

    def forget_restored(self) -> None:
        """Numbers of the earlier life that nobody asked for until now are free again."""
        self._taken -= {number & _LOCAL_MAX for number in self._remembered.values()}
        self._remembered.clear()

    def items(self) -> dict[Prefix, Identity]:
        """All of them."""
        return dict(self._identities)

    def labels(self, prefix: Prefix) -> Labels:
        """A block's labels: the block, and that it is the world (of its family, where the cluster has both)."""
        world = "world" if not self._dual_stack else "world-ipv4" if prefix.is_ipv4 else "world-ipv6"
        return Labels.of([label_of(prefix), Label(SOURCE_RESERVED, world)])

    def _free(self) -> int:
        for step in range(1, _LOCAL_MAX + 1):
            number = (self._last + step - 1) % _LOCAL_MAX + 1
            if number not in self._taken:
                self._taken.add(number)
                self._last = number
                return LOCAL_SCOPE | number
        raise ExhaustedError(
            f"all {_LOCAL_MAX} identities of address blocks are in use", hint="delete policies that name CIDRs"
        )
