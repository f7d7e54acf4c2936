"""Reserved identities: numbers and names come from ``enum gh_identity`` of the datapath."""

from __future__ import annotations

from enum import IntEnum

from glasshive.errors import BpfError
from glasshive.model.identity import Identity
from glasshive.model.labels import SOURCE_RESERVED, Label, Labels

_PREFIX = "GH_IDENTITY_"
_CLUSTER_MIN = "CLUSTER_MIN"


class ReservedIdentities:
    """The members of the C enum, by name (``host``, ``remote-node``, ``world-ipv4``) and by number."""

    def __init__(self, members: type[IntEnum]) -> None:
        names = {_strip(member.name): int(member) for member in members}
        if _CLUSTER_MIN not in names or "HOST" not in names:
            raise BpfError("the datapath object's enum gh_identity lacks its members", hint="rebuild with `make bpf`")
        self.cluster_min = names.pop(_CLUSTER_MIN)
        """Lowest number of identities that are not reserved."""
        self._numbers = {name.lower().replace("_", "-"): number for name, number in names.items()}
        self._names = {number: name for name, number in self._numbers.items()}

    def number(self, name: str) -> int:
        """Number of ``host``, ``remote-node`` ...; KeyError for a name that the datapath does not know."""
        return self._numbers[name]

    def name(self, number: int) -> str | None:
        """Name of a reserved number, None for others."""
        return self._names.get(number)

    def identities(self) -> list[Identity]:
        """All of them (0 is none), with their ``reserved:`` labels, in order of their numbers."""
        return [Identity(number, reserved_labels(name)) for number, name in sorted(self._names.items()) if number]


def reserved_labels(name: str) -> Labels:
    """Labels of a reserved identity. The API server's node is a remote node too."""
    names = (name, "remote-node") if name == "kube-apiserver" else (name,)
    return Labels.of([Label(SOURCE_RESERVED, one) for one in names])


def _strip(name: str) -> str:
    return name.removeprefix(_PREFIX)
