"""Identities as bubbles, with the pods that share one inside; a pod whose labels change moves to another bubble.

Given groups as ``glasshive.lab.identities.groups`` makes them: ``{identity labels all pods: [{name node}]}``. Numbers
of identities are in the picture and not in the text twin, as they differ from cluster to cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from glasshive.widgets.view import STATIC, View

MOST_PODS = 300
"""Beyond this, a bubble says how many pods it has and shows the first."""
_PODS_IN_TEXT = 8

Groups = Sequence[Mapping[str, Any]]


class IdentityView(View):
    """A bubble for each identity of a namespace."""

    _esm = STATIC / "identity_view.js"
    _css = STATIC / "view.css"

    def __init__(self, namespace: str, groups: Groups) -> None:
        self.namespace = namespace
        super().__init__(*self._both(groups))

    def __len__(self) -> int:
        return len(self.state["groups"])

    def update(self, groups: Groups) -> None:
        """Show something newer: who has changed identity moves."""
        self.put(*self._both(groups))

    def live(self, fetch: Callable[[], Groups], *, per_second: float = 5.0) -> Self:
        """Show what ``fetch`` gives, again and again, until ``stop``."""
        return self.keep_fresh(lambda: self._both(fetch()), per_second=per_second)

    def _both(self, groups: Groups) -> tuple[dict[str, Any], str]:
        return state(self.namespace, groups), text(self.namespace, groups)


def summary(namespace: str, groups: Groups) -> str:
    """How many pods share how many identities, in a line."""
    pods = sum(len(group["pods"]) for group in groups)
    count = len(groups)
    told = f"{pods} {'pod' if pods == 1 else 'pods'}, {count} {'identity' if count == 1 else 'identities'}"
    return f"{namespace}: {told}"


def text(namespace: str, groups: Groups) -> str:
    """The bubbles as text, by labels."""
    width = max((len(str(group["labels"])) for group in groups), default=0)
    lines = [f"  {group['labels']:<{width}}  {_pods(group)}" for group in groups]
    return "\n".join([summary(namespace, groups), *lines])


def _pods(group: Mapping[str, Any]) -> str:
    told = [f"{pod['name']} ({pod['node']})" for pod in group["pods"]]
    more = [f"and {len(told) - _PODS_IN_TEXT} more"] if len(told) > _PODS_IN_TEXT else []
    return ", ".join([*told[:_PODS_IN_TEXT], *more])


def state(namespace: str, groups: Groups) -> dict[str, Any]:
    """What the browser's part shows: at most 300 pods, shared out from the first bubble on."""
    left, shown = MOST_PODS, []
    for group in groups:
        pods = list(group["pods"])[:left]
        left -= len(pods)
        shown.append({**group, "pods": pods, "count": len(group["pods"])})
    return {
        "title": summary(namespace, groups),
        "groups": shown,
        "alt": text(namespace, groups),
        "live": False,
        "problem": "",
    }
