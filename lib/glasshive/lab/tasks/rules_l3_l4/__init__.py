"""Lab 09: rules that say who, and at which port, and not a word more; and one that says something else."""

from glasshive.lab.tasks.rules_l3_l4.door import DOOR
from glasshive.lab.tasks.rules_l3_l4.mend import MEND
from glasshive.lab.tasks.rules_l3_l4.outside import OUTSIDE
from glasshive.lab.tasks.rules_l3_l4.ports import PORTS

__all__ = ["TASKS"]

TASKS = (DOOR, PORTS, OUTSIDE, MEND)
