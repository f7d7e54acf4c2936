"""Lab 17: four programs that the verifier accepts, and that are right about packets.

Three begin as programs that are refused; the fourth counts what really reaches a pod.
"""

from glasshive.lab.tasks.hello_verifier.count import COUNT
from glasshive.lab.tasks.hello_verifier.smoke import SMOKE
from glasshive.lab.tasks.hello_verifier.ttl import TTL
from glasshive.lab.tasks.hello_verifier.visits import VISITS

__all__ = ["TASKS"]

TASKS = (TTL, SMOKE, VISITS, COUNT)
