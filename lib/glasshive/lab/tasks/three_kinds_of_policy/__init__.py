"""Lab 10: a ban that is too wide, a table of who reaches whom, a node's own door, and the administrator's last word."""

from glasshive.lab.tasks.three_kinds_of_policy.ban import BAN
from glasshive.lab.tasks.three_kinds_of_policy.node import NODE
from glasshive.lab.tasks.three_kinds_of_policy.table import TABLE
from glasshive.lab.tasks.three_kinds_of_policy.tiers import TIERS

__all__ = ["TASKS"]

TASKS = (BAN, TABLE, NODE, TIERS)
