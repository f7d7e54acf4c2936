"""The cluster-wide controllers: they turn wishes (a Deployment, a bare node) into objects that agents act on.

``Operator(client, config).run()`` is the composition root. Each controller fetches from shared caches (``caches``),
computes by pure functions, and executes through ``caches.Collection``, which makes its own writes visible at once.
"""

from glasshive.operator.config import OperatorConfig
from glasshive.operator.operator import Operator

__all__ = ["Operator", "OperatorConfig"]
