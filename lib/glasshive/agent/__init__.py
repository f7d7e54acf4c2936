"""The node agent: composition root of one node.

``Datapath`` is a node without Kubernetes (devices, programs, maps, endpoints), ``Agent`` puts it under the API's
control, ``CniServer`` is how pods come and go. ``features.FEATURES`` is the single list of what an agent does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glasshive.agent.agent import Agent
    from glasshive.agent.cni import CniServer
    from glasshive.agent.config import AgentConfig
    from glasshive.agent.datapath import Datapath

__all__ = ["Agent", "AgentConfig", "CniServer", "Datapath"]

_WHERE = {"Agent": "agent", "AgentConfig": "config", "CniServer": "cni", "Datapath": "datapath"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'glasshive.agent' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"glasshive.agent.{_WHERE[name]}"), name)
