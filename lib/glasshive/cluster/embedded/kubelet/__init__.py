"""The part that plays the kubelet: from Pod objects bound to a node to running pods, and back to their status.

``kubelet`` follows the API and keeps one ``worker`` per pod; a worker asks ``containers`` (what shall run: pure),
``volumes``, ``sandbox`` (namespace, CNI, zygote) and ``probes``, and reports through ``status`` (pure). ``node`` keeps
the Node object; ``http`` answers for logs and commands. It lives in the node's process beside the agent, which it only
knows as a CNI.
"""

from __future__ import annotations

from glasshive.cluster.embedded.kubelet.config import KubeletConfig
from glasshive.cluster.embedded.kubelet.kubelet import Kubelet

__all__ = ["Kubelet", "KubeletConfig"]
