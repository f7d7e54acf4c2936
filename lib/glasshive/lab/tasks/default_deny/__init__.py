"""Lab 08: a team behind a closed door, a policy that is rehearsed, and a cluster that somebody left without any."""

from glasshive.lab.tasks.default_deny.close import CLOSE
from glasshive.lab.tasks.default_deny.never_again import NEVER_AGAIN
from glasshive.lab.tasks.default_deny.rehearse import REHEARSE

TASKS = (CLOSE, REHEARSE, NEVER_AGAIN)
