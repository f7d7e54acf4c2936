"""What a notebook shows: views over model values, and the ``%%bpf`` cell magic.

Every view has a text twin (its ``repr``), alternative text, and works without a mouse. Scripts and styles are files in
``static/``; nothing is fetched from a network. Views are given values and never fetch them; ``live`` keeps them fresh.
Names are imported when first used: the command line reaches this package without wanting ipywidgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glasshive.widgets.drops import DropsChart
    from glasshive.widgets.identity_view import IdentityView
    from glasshive.widgets.map_table import MapTable
    from glasshive.widgets.panel import Panel
    from glasshive.widgets.policy_view import PolicyView
    from glasshive.widgets.program_view import ProgramView
    from glasshive.widgets.question import Question
    from glasshive.widgets.topology import TopologyView

__all__ = ["DropsChart", "IdentityView", "MapTable", "Panel", "PolicyView", "ProgramView", "Question", "TopologyView"]

_WHERE = {
    "DropsChart": "drops",
    "IdentityView": "identity_view",
    "MapTable": "map_table",
    "Panel": "panel",
    "PolicyView": "policy_view",
    "ProgramView": "program_view",
    "Question": "question",
    "TopologyView": "topology",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'glasshive.widgets' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"glasshive.widgets.{_WHERE[name]}"), name)
