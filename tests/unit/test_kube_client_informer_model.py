"""An informer against a model of the server: any history, cut anywhere, ends in the true state, told consistently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane import eventually
from glasshive.api.resources import CONFIG_MAP
from glasshive.errors import ApiError
from glasshive.kube import informer as informer_module
from glasshive.kube.client import Client, ObjectList, WatchEvent
from glasshive.kube.informer import EventType, Informer
from glasshive.kube.objects import Object, uid_of


@dataclass
class Model:
    """A store with its whole history, and a memory that starts at ``oldest``."""

    revision: int = 1
    oldest: int = 0
    objects: dict[str, Object] = field(default_factory=dict)
    history: list[WatchEvent] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, name: str) -> Object:
        self.revision += 1
        old = self.objects.get(name)
        uid = uid_of(old) if old else f"{name}-{self.revision}"
        meta = {"name": name, "namespace": "d", "uid": uid, "resourceVersion": str(self.revision)}
        made: Object = {"metadata": meta}
        self.objects[name] = made
        self._record("MODIFIED" if old else "ADDED", made)
        return made

    def delete(self, name: str) -> Object | None:
        old = self.objects.pop(name, None)
        if old is not None:
            self.revision += 1
            self._record("DELETED", {"metadata": {**old["metadata"], "resourceVersion": str(self.revision)}})
        return old

    def _record(self, kind: str, obj: Object) -> None:
        self.history.append(WatchEvent(kind, obj))
        self.wake()

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class ModelClient(Client):
    """Serves a model; ``cut`` ends every watch."""

    def __init__(self, model: Model) -> None:
        super().__init__(socket="/nowhere")
        self.model = model
        self.cuts = 0

    def cut(self) -> None:
        self.cuts += 1
        self.model.wake()

    async def list(self, *_: object, **__: object) -> ObjectList:  # type: ignore[override]
        await asyncio.sleep(0)
        listed = ObjectList(list(self.model.objects.values()), str(self.model.revision))
        await asyncio.sleep(0)  # the answer is under way while the world goes on
        return listed

    async def watch(self, *_: object, resource_version: str, **__: object) -> AsyncIterator[WatchEvent]:  # type: ignore[override]
        seen, cuts = int(resource_version), self.cuts
        while True:
            if seen < self.model.oldest:
                raise ApiError(410, "Expired", "too old")
            later = [e for e in self.model.history if int(e.object["metadata"]["resourceVersion"]) > seen]
            if cuts != self.cuts:
                raise ApiError(503, "ServiceUnavailable", "cut")
            if not later:
                await self.model.changed.wait()
                continue
            seen = int(later[0].object["metadata"]["resourceVersion"])
            yield later[0]
            await asyncio.sleep(0)


class Judge:
    """Checks that events of one name are told as a life: added, modified any number of times, deleted."""

    def __init__(self) -> None:
        self.alive: dict[str, Object] = {}
        self.faults: list[str] = []

    def __call__(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        try:
            self._judge(kind, old, new)
        except AssertionError as error:  # an informer logs what a handler raises and goes on
            self.faults.append(f"{kind}: {error}")

    def _judge(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        name = obj["metadata"]["name"]
        assert self.alive.get(name) == old, f"{kind} of {name} does not follow from what was told before"
        assert (kind == "ADDED") == (old is None)
        if new is None:
            del self.alive[name]
        else:
            if old is not None:
                assert uid_of(old) == uid_of(new)
                assert int(new["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])
            self.alive[name] = new


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "own write", "delete", "own delete", "cut", "forget history", "wait"]),
        st.sampled_from("abc"),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_any_history_cut_anywhere(steps: list[tuple[str, str]]) -> None:
    async def run() -> None:
        model = Model()
        client, judge = ModelClient(model), Judge()
        found = Informer(client, CONFIG_MAP, judge)
        found.start()
        for action, name in steps:
            if action == "write":
                model.write(name)
            elif action == "own write":
                found.observe(model.write(name))
            elif action == "delete":
                model.delete(name)
            elif action == "own delete":
                gone = model.delete(name)
                if gone is not None:
                    found.forget(gone)
            elif action == "cut":
                client.cut()
            elif action == "forget history":
                model.oldest = model.revision
                client.cut()
            else:
                await asyncio.sleep(0.001)
        truth = dict(model.objects)
        await eventually(lambda: {o["metadata"]["name"]: o for o in found.values()} == truth, 5)
        await found.stop()
        assert judge.alive == truth
        assert not judge.faults

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(informer_module, "HEALTHY_SECONDS", 0.0)
        asyncio.run(run())
