"""The lab kit. In a notebook: ``lab = glasshive.lab("00")``; on the command line: ``glasshive lab ...``.

An author's source (``labs/src``) becomes two notebooks (``build``), which are run (``execute``), held to rules
(``lint``) and compared with what they show today (``compare``, by nbval). ``kit.Lab`` is what a notebook talks to.
The package can be called because that is what a learner types first; everything else is in its modules.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glasshive.lab.kit import Lab

__all__ = ["open_lab"]


def open_lab(
    wanted: str, *, cluster: str = "", seed: int | None = None, tier: int | None = None, backend: str = ""
) -> Lab:
    """Prepare a lab: check the machine, find or bring up its cluster, make its namespace. ``glasshive.lab(...)``.

    ``seed`` picks the variant of its tasks (0 unless told otherwise; a lab that was begun goes on with its own).
    ``tier`` is how practised one is: at 2 the last hint is not given, at 3 only the first is. ``backend``: what the
    cluster is made of, embedded unless told otherwise; the cells are the same on each that the lab runs on.
    """
    from glasshive.lab.kit import Lab
    from glasshive.lab.parameters import injected

    given = injected()
    cluster = cluster or given.get("cluster", "")
    seed = given.get("seed") if seed is None else seed
    tier = given.get("tier") if tier is None else tier
    return Lab.open(wanted, cluster=cluster, seed=seed, tier=tier, backend=backend)


class _Callable(ModuleType):
    """A module that can be called: ``glasshive.lab("00")``."""

    __call__ = staticmethod(open_lab)


sys.modules[__name__].__class__ = _Callable
