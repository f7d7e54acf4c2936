"""Read-only data of an object: the ``const volatile`` variables that configure a program before it is loaded.

The verifier sees their values as constants and removes the code that they switch off.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import numpy as np

from glasshive.bpf.btf import Btf, Kind
from glasshive.bpf.layout import dtype, fill
from glasshive.errors import NotFoundError, UsageError


class Rodata(MutableMapping[str, Any]):
    """Variables of one section by name. Reading gives a record or number, writing takes what map values take."""

    def __init__(self, btf: Btf, section: str, content: bytes) -> None:
        self.content = bytearray(content)
        self.changed = False
        self._variables: dict[str, tuple[int, np.dtype[Any]]] = {}
        for found in btf.by_name.get(section, ()):
            if found.kind != Kind.DATASEC:
                continue
            for variable in found.variables:
                of = btf.types[variable.type_id]
                self._variables[of.name] = (variable.offset, dtype(btf, of.target))

    def __getitem__(self, name: str) -> Any:
        return self._view(name)[0]

    def __setitem__(self, name: str, value: object) -> None:
        made = np.zeros(1, self._view(name).dtype)
        try:
            fill(made, 0, value)
        except UsageError as error:
            raise UsageError(f"variable {name}: {error.message}", hint=error.hint) from error
        self._view(name)[:] = made
        self.changed = True

    def __delitem__(self, name: str) -> None:
        raise UsageError(f"variable {name} is part of the object and cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def _view(self, name: str) -> Any:
        if name not in self._variables:
            known = ", ".join(sorted(self._variables)) or "none"
            raise NotFoundError(f"the object has no constant {name!r}", hint=f"constants are {known}")
        at, kind = self._variables[name]
        if kind.subdtype is not None:
            kind = np.dtype([("elements", kind)])
        return np.frombuffer(self.content, kind, 1, at)
