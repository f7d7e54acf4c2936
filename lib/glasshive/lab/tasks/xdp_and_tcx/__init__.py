"""Lab 18: a redirect that joins two devices, and an XDP program that drops before the stack sees a packet."""

from glasshive.lab.tasks.xdp_and_tcx.cable import CABLE
from glasshive.lab.tasks.xdp_and_tcx.gate import GATE

__all__ = ["TASKS"]

TASKS = (CABLE, GATE)
