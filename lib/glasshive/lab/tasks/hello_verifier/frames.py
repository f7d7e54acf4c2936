"""Frames that are none of a program's business, and words that the four tasks of lab 17 share."""

from __future__ import annotations

from glasshive.lab.checks.program import Row
from glasshive.lab.packets import ETH_ARP, ETH_IPV6, ICMP, TCP, UDP, ethernet

PASS, DROP = "TC_ACT_OK", "TC_ACT_SHOT"
PROTOCOLS = {ICMP: "ICMP", TCP: "TCP", UDP: "UDP"}


def others() -> list[Row]:
    """Frames that every program of this lab lets pass."""
    return [
        Row("ARP", ethernet(ETH_ARP, bytes(46)), PASS, "drops-others"),
        Row("IPv6", ethernet(ETH_IPV6, bytes([0x60, *[0] * 59])), PASS, "drops-others"),
        Row("a frame of 23 bytes", ethernet(ETH_ARP, bytes(9)), PASS, "drops-short"),
    ]
