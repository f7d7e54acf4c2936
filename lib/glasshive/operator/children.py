"""Pods of a workload object: taking up orphans that fit, letting go of those that no longer do, making many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from glasshive.api.selectors import Selector, matches
from glasshive.kube.objects import Object, controller_of, is_terminating, labels_of, owner_reference, uid_of
from glasshive.operator.caches import Collection

AT_ONCE = 32


@dataclass(frozen=True)
class Claims:
    """Outcome of ``claims``: what is owned, what to take up, what to let go."""

    owned: list[Object]
    adopt: list[Object]
    release: list[Object]


def claims(owner: Object, selector: Selector, controlled: Iterable[Object], orphans: Iterable[Object]) -> Claims:
    """Compare an owner's selector with its children and with children that nobody controls. Pure.

    An owner on its way out takes up nothing.
    """
    owned: list[Object] = []
    release: list[Object] = []
    for child in controlled:
        fits = matches(selector, labels_of(child))
        (owned if fits or is_terminating(child) else release).append(child)
    adopt = []
    if not is_terminating(owner):
        adopt = [o for o in orphans if matches(selector, labels_of(o)) and not is_terminating(o)]
    return Claims(owned, adopt, release)


async def settle(owner: Object, kind: str, found: Claims, collection: Collection) -> list[Object]:
    """Carry out ``found``; return everything that is owned afterwards."""
    owned = list(found.owned)
    for child in found.release:
        kept = [r for r in child["metadata"].get("ownerReferences") or () if r.get("uid") != uid_of(owner)]
        await collection.patch(child, {"metadata": {"uid": uid_of(child), "ownerReferences": kept or None}})
    for child in found.adopt:
        refs = [*(child["metadata"].get("ownerReferences") or ()), owner_reference(owner, owner["apiVersion"], kind)]
        owned.append(await collection.patch(child, {"metadata": {"uid": uid_of(child), "ownerReferences": refs}}))
    return owned


def controls(owner: Object, child: Object) -> bool:
    """Tell whether ``owner`` is the controller of ``child``."""
    ref = controller_of(child)
    return ref is not None and ref.get("uid") == uid_of(owner)


async def slow_start(count: int, make: Callable[[], Awaitable[object]]) -> BaseException | None:
    """Call ``make`` ``count`` times: first once, and if that works in growing batches side by side.

    So a template that the API refuses is refused once, not ``count`` times. Returns the first error.
    """
    done, batch = 0, 1
    while done < count:
        size = min(batch, count - done, AT_ONCE)
        results = await asyncio.gather(*(make() for _ in range(size)), return_exceptions=True)
        errors = [r for r in results if isinstance(r, BaseException)]
        done += size
        if errors:
            return errors[0]
        batch *= 4
    return None


async def all_of(actions: Sequence[Awaitable[object]]) -> None:
    """Await all, side by side; raise the first error after all have ended."""
    results = await asyncio.gather(*actions, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
