"""Checks of a load balancer by packets: the grader gives the program a service of its own, and takes it away after.

Its address is of 198.18.0.0/15 (RFC 2544, benchmarking), its backends stand in a part of the table that notebooks do
not use. So what is learned does not depend on what the learner serves, and what they serve is not disturbed.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence

from glasshive.lab.balancer import MOST_BACKENDS, Balancer
from glasshive.lab.packets import Packet, tcp
from glasshive.lab.pinned import Pinned

_FIRST_OWN = 128
_BLOCKS = 16
_chance = random.SystemRandom()


class Trial:
    """A service of the grader's in a learner's program."""

    def __init__(self, program: Pinned) -> None:
        self._program = program
        self._balancer = Balancer(program, first=_FIRST_OWN + MOST_BACKENDS * _chance.randrange(_BLOCKS))
        self.address, self.port = f"198.18.{_chance.randrange(256)}.{_chance.randrange(1, 255)}", 8080
        self.backends = [(f"198.19.{_chance.randrange(256)}.{number + 1}", 9000 + number) for number in range(4)]

    def serve(self, count: int) -> None:
        """Serve with the first ``count`` backends."""
        self._balancer.serve(self.address, self.port, self.backends[:count])

    def mark(self, number: int, *, alive: bool) -> None:
        """Let a backend go, or come back."""
        self._balancer.mark(number, alive=alive)

    def withdraw(self) -> None:
        """Take the service away."""
        self._balancer.withdraw(self.address, self.port)

    def frame(self, client: int, payload: bytes = b"") -> bytes:
        """The packet of one client; there are 50,000 of them, each with an address and a port of its own."""
        source = f"10.{77 + client % 3}.{client // 200 % 250}.{client % 200 + 1}"
        return tcp(payload, source=source, target=self.address, source_port=10_000 + client, target_port=self.port)

    def forward(self, clients: Sequence[int]) -> list[Packet | None]:
        """What becomes of a packet of each client."""
        return [ran.packet for ran in self._program.run_all([self.frame(one) for one in clients], "forward")]

    def numbers(self, clients: Sequence[int]) -> list[int]:
        """The number of the backend that a packet of each client is sent to, -1 for none."""
        known = {end: number for number, end in enumerate(self.backends)}
        return [
            known.get((one.target, one.target_port), -1) if one is not None else -1 for one in self.forward(clients)
        ]


@contextlib.contextmanager
def trial(program: Pinned, count: int) -> Iterator[Trial]:
    """A service with so many backends, as long as the block lasts."""
    made = Trial(program)
    try:
        made.serve(count)
        yield made
    finally:
        made.withdraw()
