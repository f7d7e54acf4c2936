"""The kernel's rules made equal to what services ask for, by either tool. A change is one transaction per table.

An agent that takes over finds the chains of its predecessor: all of ours are written anew in one go, those that nobody
wants go, and no packet meets a half-made table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from glasshive.errors import CapabilityError, KernelError
from glasshive.net import rules
from glasshive.service.kube_proxy import iptables, nftables
from glasshive.service.kube_proxy.names import Owned, PeerNode

_OURS = ("KUBE-", "GLASSHIVE-")


class Rules(Protocol):
    """One family's rules in the kernel."""

    def apply(self, found: Iterable[Owned], node: PeerNode) -> bool:
        """Make them what these frontends need; whether anything changed. KernelError: they are as they were."""

    def remove(self) -> None:
        """Take all of them away."""


class IptablesRules:
    """By ``iptables-restore``."""

    def __init__(self, *, ipv4: bool) -> None:
        self._ipv4 = ipv4
        self._now: iptables.Ruleset | None = None

    def apply(self, found: Iterable[Owned], node: PeerNode) -> bool:
        """See ``Rules``."""
        wanted = iptables.ruleset(found, node, ipv4=self._ipv4)
        first = self._now is None
        before = self._left() if self._now is None else self._now
        text = iptables.difference(before, wanted)
        if text:
            rules.iptables_restore(text, ipv4=self._ipv4)
            self._now = wanted
        if first:
            self._enter()
        return bool(text)

    def remove(self) -> None:
        """See ``Rules``."""
        lines = []
        for table, chain, to in iptables.entries():
            rule = f"-A {chain} -j {to}"
            if rule in rules.iptables_rules(table, chain, ipv4=self._ipv4):
                lines.append(f"*{table}\n-D {chain} -j {to}\nCOMMIT\n")
        text = "".join(lines) + iptables.difference(self._left(), {})
        if text:
            rules.iptables_restore(text, ipv4=self._ipv4)
        self._now = None

    def _left(self) -> iptables.Ruleset:
        """Our chains that are in the kernel; what is in them is not read, so all differ from what is wanted."""
        return {
            table: {
                chain: ("unread",)
                for chain in sorted(rules.iptables_chains(table, ipv4=self._ipv4))
                if chain.startswith(_OURS)
            }
            for table in ("nat", "filter")
        }

    def _enter(self) -> None:
        for table, chain, to in iptables.entries():
            if f"-A {chain} -j {to}" not in rules.iptables_rules(table, chain, ipv4=self._ipv4):
                rules.iptables_restore(f"*{table}\n-A {chain} -j {to}\nCOMMIT\n", ipv4=self._ipv4)


class NftablesRules:
    """By ``nft -f``."""

    def __init__(self, *, ipv4: bool) -> None:
        self._ipv4 = ipv4
        self._now: nftables.Table | None = None
        self._node: PeerNode | None = None

    def apply(self, found: Iterable[Owned], node: PeerNode) -> bool:
        """See ``Rules``."""
        wanted = nftables.table(found, node, ipv4=self._ipv4)
        known = self._now if self._now is not None and self._node == node else None
        head = "" if known is not None else nftables.frame(node, ipv4=self._ipv4)
        text = head + nftables.difference(known or nftables.Table(), wanted, ipv4=self._ipv4)
        if text:
            rules.nft(text)
            self._now, self._node = wanted, node
        return bool(text)

    def remove(self) -> None:
        """See ``Rules``."""
        rules.nft(nftables.removal(ipv4=self._ipv4))
        self._now = None


def rules_of(dataplane: str, *, ipv4: bool) -> Rules:
    """The tool of a dataplane."""
    return NftablesRules(ipv4=ipv4) if dataplane == "nftables" else IptablesRules(ipv4=ipv4)


def remove_all(*, but: str = "") -> list[str]:
    """Remove what another dataplane left in this namespace; what went wrong, in words (a tool may be missing)."""
    wrong = []
    for dataplane in ("iptables", "nftables"):
        for ipv4 in (True, False):
            if dataplane == but:
                continue
            try:
                rules_of(dataplane, ipv4=ipv4).remove()
            except (KernelError, CapabilityError) as error:
                wrong.append(f"{dataplane}: {error}")
    return wrong
