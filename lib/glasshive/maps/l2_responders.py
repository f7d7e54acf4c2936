"""The maps ``l2_responders`` and ``l2_term`` (``bpf/types/l2_responder.h``): addresses answered for, and until when."""

from __future__ import annotations

from collections.abc import Collection

from glasshive.bpf import Map
from glasshive.model.address import Address

NAME, TERM = "l2_responders", "l2_term"


class L2Responders:
    """Typed face of both maps."""

    def __init__(self, responders: Map, term: Map) -> None:
        self._responders = responders
        self._term = term

    def entries(self) -> dict[tuple[Address, int], int]:
        """(address, device) -> answers sent."""
        keys, values = self._responders.items()
        return {
            (Address(key["addr"].tobytes()), int(key["ifindex"])): int(value["responses_sent"])
            for key, value in zip(keys, values, strict=True)
        }

    def set(self, wanted: Collection[tuple[Address, int]]) -> list[tuple[Address, int]]:
        """Answer for exactly these; returns those that are new. What is answered for already keeps its count."""
        have = self.entries()
        new = [one for one in wanted if one not in have]
        if new:
            keys = [{"addr": address, "ifindex": index} for address, index in new]
            self._responders.update(keys, [{"responses_sent": 0}] * len(new))
        gone = [{"addr": address, "ifindex": index} for address, index in have if (address, index) not in wanted]
        if gone:
            self._responders.delete(gone)
        return new

    def set_term(self, until_ns: int) -> None:
        """Answer until then (CLOCK_MONOTONIC)."""
        self._term.update([0], [{"until_ns": until_ns}])
