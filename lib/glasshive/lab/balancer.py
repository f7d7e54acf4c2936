"""The control plane of lab 19's load balancer: it fills the tables that the learner's program reads.

::

    hive = Balancer(balance)                                      # the program that the cell has loaded
    hive.serve("192.0.2.10", 80, [("10.244.1.5", 8080), ...])     # which backends a service has
    hive.mark(1, alive=False)                                     # the second backend is gone
    hive.backends()                                               # and what the table says now

Tables as ``bpf/labs/balancer.h`` declares them. Addresses are text; in the kernel they are in network byte order.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

from glasshive.errors import UsageError
from glasshive.lab.pinned import Pinned

MOST_BACKENDS = 8


class Balancer:
    """The tables of one loaded program; ``first`` is the number of its first backend."""

    def __init__(self, program: Pinned, *, first: int = 0) -> None:
        self._program = program
        self._first = first

    def serve(self, address: str, port: int, backends: Sequence[tuple[str, int]]) -> str:
        """Make a service, or give it other backends, all of them alive."""
        if not 0 < len(backends) <= MOST_BACKENDS:
            raise UsageError(f"a service has 1 to {MOST_BACKENDS} backends, not {len(backends)}")
        # Backends first: whoever finds the service finds them too.
        for number, (where, at) in enumerate(backends, self._first):
            self._program.put("backends", number, (_end(where, at), 1))
        self._program.put("services", _end(address, port), (self._first, len(backends)))
        return f"{address}:{port} has {len(backends)} backends"

    def mark(self, number: int, *, alive: bool) -> str:
        """Say whether a backend of ``serve``'s list, counted from 0, is alive."""
        with self._program.open_map("backends") as table:
            held = table.get(self._first + number)
            table.update(self._first + number, (held["end"], int(alive)))
        return f"backend {number} is {'alive' if alive else 'gone'}"

    def withdraw(self, address: str, port: int) -> None:
        """Take a service away, and forget its backends."""
        self._program.take("services", _end(address, port))
        for number in range(self._first, self._first + MOST_BACKENDS):
            self._program.put("backends", number, (_end("0.0.0.0", 0), 0))  # noqa: S104 - nobody's address

    def backends(self) -> list[dict[str, Any]]:
        """The backends: ``backend address port alive``."""
        with self._program.open_map("backends") as table:
            rows = [(at, table.get(self._first + at)) for at in range(MOST_BACKENDS)]
        return [
            {"backend": at, "address": _text(row["end"]["address"]), "port": int(row["end"]["port"]),
             "alive": bool(row["alive"])}
            for at, row in rows
            if int(row["end"]["port"])
        ]  # fmt: skip

    def connections(self, address: str, port: int) -> list[dict[str, Any]]:
        """The connections of a service that are remembered: ``client port backend``."""
        with self._program.open_map("connections") as table:
            keys, values = table.items()
        return sorted(
            (
                {"client": _text(key["source"]["address"]), "port": int(key["source"]["port"]),
                 "backend": int(value) - self._first}
                for key, value in zip(keys, values, strict=True)
                if (_text(key["target"]["address"]), int(key["target"]["port"])) == (address, port)
            ),
            key=lambda row: (row["client"], row["port"]),
        )  # fmt: skip


def _end(address: str, port: int) -> tuple[int, int, int]:
    """A ``struct end``; its dtype puts numbers into network byte order."""
    return int(ipaddress.IPv4Address(address)), port, 0


def _text(address: int) -> str:
    return socket.inet_ntoa(int(address).to_bytes(4))
