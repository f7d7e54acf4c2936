"""The cluster-wide controllers: they turn wishes (a Deployment, a bare node) into objects that agents act on.

``Operator(client, config).run()`` is the composition root. Each controller fetches from shared caches (``caches``),
computes by pure functions, and executes through ``caches.Collection``, which makes its own writes visible at once.

Names are imported when first used: nodes need the event recorder only, and every agent would wait for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glasshive.operator.config import OperatorConfig
    from glasshive.operator.operator import Operator

__all__ = ["Operator", "OperatorConfig"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'glasshive.operator' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"glasshive.operator.{'config' if name == 'OperatorConfig' else 'operator'}"), name)
