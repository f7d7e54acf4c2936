"""Lab 07: one more of the same, somebody who runs already, and a policy that names too much."""

from glasshive.lab.tasks.identity_not_ip.let_in import LET_IN
from glasshive.lab.tasks.identity_not_ip.rollout import ROLLOUT
from glasshive.lab.tasks.identity_not_ip.share import SHARE

TASKS = (SHARE, LET_IN, ROLLOUT)
