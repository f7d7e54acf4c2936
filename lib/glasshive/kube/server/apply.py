"""Server-side apply: an object holds what its appliers want, and each field knows who wants it.

Steps: what does the applier want (leaves of its object); do others own any of it with another value (conflict, unless
forced); merge it in; take away what it wanted last time, wants no more, and nobody else owns; write down who owns what.
`patch` sends the result through the pipeline of an update.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import orjson

from .fieldset import Leaves, Path, item_element, leaves, shown
from .managers import Entry, Managers, Who, owned, same_leaf
from .schema import ANY, Node
from .status import StatusError

Object = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Wish:
    """An apply request: who applies what, to which part, at what time, and whether against others."""

    node: Node
    applied: Object
    who: Who
    api_version: str
    now: str
    force: bool
    status_apart: bool

    def leaves(self) -> Leaves:
        """The fields that the applier wants to own."""
        wanted = owned(leaves(self.node, self.applied))
        if self.who[2] == "status":
            return {p: v for p, v in wanted.items() if p[0] != "f:spec"}
        return {p: v for p, v in wanted.items() if p[0] != "f:status"} if self.status_apart else wanted


def first(wish: Wish) -> Managers:
    """The record of a new object."""
    managers = Managers({})
    managers.entries[wish.who] = Entry(wish.api_version, wish.now, set(wish.leaves()))
    return managers


def merged(wish: Wish, live: Object) -> tuple[Object, Managers]:
    """The live object with the wish merged in, and the new record. StatusError 409 on conflicts."""
    managers = Managers(live["metadata"])
    have = owned(leaves(wish.node, live))
    if not managers.entries:
        created = live["metadata"].get("creationTimestamp") or wish.now
        managers.entries["before-first-apply", "Update", ""] = Entry(wish.api_version, created, set(have))
    want = wish.leaves()
    conflicts = _conflicts(wish, managers, have, want)
    if conflicts and not wish.force:
        allowed = _last_applied(wish, live) if wish.who[0] == "kubectl" else set()
        left = {who: paths - allowed for who, paths in conflicts.items() if paths - allowed}
        if left:
            raise _refusal(left, managers)
    for who, paths in conflicts.items():
        managers.entries[who].fields -= paths
    result = _merge(wish.node, deepcopy(live), wish.applied)
    previous = managers.entries.get(wish.who)
    kept = managers.others(wish.who) | set(want)
    gone = (previous.fields if previous else set()) - kept
    _prune(wish.node, result, gone, kept)
    if previous is None or previous.fields != set(want) or conflicts or gone:
        managers.entries[wish.who] = Entry(wish.api_version, wish.now, set(want))
    result["metadata"].pop("managedFields", None)
    return result, managers


def _conflicts(wish: Wish, managers: Managers, have: Leaves, want: Leaves) -> dict[Who, set[Path]]:
    differing = {p for p, v in want.items() if p in have and not same_leaf(have[p], v)}
    found = {who: e.fields & differing for who, e in managers.entries.items() if who != wish.who}
    return {who: paths for who, paths in found.items() if paths}


def _last_applied(wish: Wish, live: Object) -> set[Path]:
    """Fields that kubectl's client-side apply set: kubectl may take them over without a conflict."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED, "")
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return set()
    return set(leaves(wish.node, told)) if isinstance(told, dict) else set()


def _refusal(conflicts: dict[Who, set[Path]], managers: Managers) -> StatusError:
    causes, parts = [], []
    for who, paths in sorted(conflicts.items()):
        manager, _, subresource = who
        by = f'"{manager}"' + (f' with subresource "{subresource}"' if subresource else "")
        by += f" using {managers.entries[who].api_version}"
        names = sorted(shown(path) for path in paths)
        causes += [{"reason": "FieldManagerConflict", "message": f"conflict with {by}", "field": n} for n in names]
        many = "conflicts" if len(names) > 1 else "conflict"
        parts.append(f"{many} with {by}:" + ("".join(f"\n- {n}" for n in names) if len(names) > 1 else f" {names[0]}"))
    count = f"{len(causes)} conflict" + ("s" if len(causes) > 1 else "")
    return StatusError(409, "Conflict", f"Apply failed with {count}: " + "\n".join(parts), {"causes": causes})


def _merge(node: Node, live: Any, applied: Any) -> Any:
    if (
        isinstance(applied, dict)
        and isinstance(live, dict)
        and not node.atomic
        and node.kind in {"object", "map", "any"}
    ):
        for key, value in applied.items():
            live[key] = _merge(node.child(key), live[key], value) if key in live else value
        return live
    if isinstance(applied, list) and isinstance(live, list) and node.keys:
        wanted = {item_element(node, item): item for item in applied}
        have = {item_element(node, item): item for item in live}
        merged_items = {name: _merge(node.item or ANY, have[name], item) if name in have else item
                        for name, item in wanted.items()}  # fmt: skip
        everything = have | merged_items
        return [everything[name] for name in _interleaved([*have], [*wanted])]
    return applied


def _interleaved(have: list[str], wanted: list[str]) -> list[str]:
    """The wanted items in their order; those that only the live list has stay where they were between them."""
    order: list[str] = []
    at = 0
    for name in wanted:
        while at < len(have) and have[at] not in wanted:
            order.append(have[at])
            at += 1
        order.append(name)
        at += at < len(have) and have[at] == name
    return order + [name for name in have[at:] if name not in wanted]


def _prune(node: Node, obj: Any, gone: set[Path], kept: set[Path]) -> None:
    """Take the ``gone`` fields out of ``obj``; a list item stays while anybody owns a part of it."""
    prefixes = {path[:n] for path in kept for n in range(1, len(path) + 1)}
    for path in sorted(gone, key=len):
        if path in prefixes:
            continue
        _remove(node, obj, path, prefixes)


def _remove(node: Node, obj: Any, path: Path, prefixes: set[Path]) -> None:
    trail: list[tuple[Node, Any, str]] = []
    place = obj
    for element in path:
        trail.append((node, place, element))
        if isinstance(place, dict) and element.startswith("f:"):
            node, place = node.child(element[2:]), place.get(element[2:])
        elif isinstance(place, list):
            match = [item for item in place if item_element(node, item) == element]
            node, place = node.item or ANY, match[0] if match else None
        else:
            return
    if _is_key(trail):
        return
    # Containers that this leaves empty go as well, as long as nobody owns them.
    for depth in range(len(trail), 0, -1):
        owner, container, element = trail[depth - 1]
        if isinstance(container, dict):
            container.pop(element[2:], None)
        else:
            container[:] = [item for item in container if item_element(owner, item) != element]
        if container or depth < 3 or path[: depth - 1] in prefixes:
            return


def _is_key(trail: list[tuple[Node, Any, str]]) -> bool:
    """Whether the path ends at a key of a list item that is still there: it goes only with the item."""
    if len(trail) < 2:
        return False
    owner, _, element = trail[-2]
    return element.startswith("k:") and trail[-1][2][2:] in owner.keys
