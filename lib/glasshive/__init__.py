"""Glasshive: an observation hive for cloud native networking.

The public door: names are imported when they are first used, so that ``import glasshive`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glasshive import lab
    from glasshive.cluster import Cluster, connect
    from glasshive.errors import GlasshiveError

__version__ = "0.1.0"
__all__ = ["Cluster", "GlasshiveError", "__version__", "connect", "lab"]

_WHERE = {
    "Cluster": "glasshive.cluster",
    "GlasshiveError": "glasshive.errors",
    "connect": "glasshive.cluster",
    "lab": "glasshive.lab",
    # IPython's names for what %load_ext glasshive and %unload_ext glasshive call: not part of the public list.
    "load_ipython_extension": "glasshive.widgets.magic",
    "unload_ipython_extension": "glasshive.widgets.magic",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'glasshive' has no attribute {name!r}")
    from importlib import import_module

    found = import_module(_WHERE[name])
    return found if found.__name__ == f"glasshive.{name}" else getattr(found, name)
