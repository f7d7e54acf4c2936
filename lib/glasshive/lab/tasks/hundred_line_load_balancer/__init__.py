"""Lab 19: a load balancer that rewrites right, keeps its connections, and serves real pods."""

from glasshive.lab.tasks.hundred_line_load_balancer.forward import FORWARD
from glasshive.lab.tasks.hundred_line_load_balancer.keep import KEEP
from glasshive.lab.tasks.hundred_line_load_balancer.live import LIVE

__all__ = ["TASKS"]

TASKS = (FORWARD, KEEP, LIVE)
