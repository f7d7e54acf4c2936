"""Clusters: what one is made of (``backend``), and how Python code uses it (``session``).

Names are imported when first used: the supervisor, which lives in this package, starts faster without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glasshive.cluster.session import Cluster, connect

__all__ = ["Cluster", "connect"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'glasshive.cluster' has no attribute {name!r}")
    from glasshive.cluster import session

    return getattr(session, name)
