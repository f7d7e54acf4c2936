"""What the engine asks for, carried out in the kernel's tables in the engine's order.

Everything up to the moment in which endpoints go over to their new policies is done at once, and so is the withdrawal
of address blocks: the engine does not know their identities any more, so a policy that comes next has no rows for them.
What nobody can reach any more afterwards is swept a second later. A row that was written again meanwhile is not swept.

``resync`` compares the whole of it with the kernel: at the start, when it takes over what an earlier agent left (which
stays in force until all of the new is in place), and after anything went wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from glasshive import bpf
from glasshive.agent.policy.kernel_rows import KernelRows
from glasshive.errors import ExhaustedError
from glasshive.model.address import Prefix
from glasshive.policy.delta import (
    Assignment,
    Block,
    Delta,
    DropBlocks,
    DropPeers,
    DropPorts,
    Flip,
    Grace,
    PeerKey,
    PeerValue,
    PortKey,
    PortValue,
    PutBlocks,
    PutPeers,
    PutPorts,
    Retire,
    Step,
)

SWEEP_SECONDS = 1.0
"""How long rows outlive the last use: far longer than a packet takes through a program."""

log = logging.getLogger(__name__)


class Hands(NamedTuple):
    """What the tables' writer does elsewhere."""

    flip: Callable[[Assignment], bool]
    """Put a subject under another number; whether packets can notice."""
    blocks: Callable[[Mapping[Prefix, int | None]], None]
    """Give prefixes identities in the ipcache, written when this returns; None: withdraw."""
    released: Callable[[Iterable[int]], None]
    """These numbers have no rows left."""


class _Sweep(NamedTuple):
    due: float
    number: int
    steps: tuple[Step, ...]


class PolicyTables:
    """Writes deltas. Belongs to the agent's event loop."""

    def __init__(self, rows: KernelRows, hands: Hands) -> None:
        self.rows = rows
        self._hands = hands
        self._sweeps: deque[_Sweep] = deque()
        self._written: dict[PeerKey | PortKey, int] = {}
        """What was written since the oldest sweep that waits, and when."""
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    def apply(self, delta: Delta) -> None:
        """Carry a delta out. ExhaustedError when a table is full: then nothing has gone over to new policies."""
        self._number += 1
        steps = list(delta.steps())
        ahead, behind = _now_and_later(steps)
        noticed = [self._do(step, self._number) for step in ahead]
        if any(noticed):
            self.rows.maps.bump_revision()
        if behind:
            self._sweep_later(tuple(behind))

    def stop(self) -> None:
        """Give up waiting; the next agent sweeps."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def waiting(self) -> int:
        """How many sweeps wait."""
        return len(self._sweeps)

    # -- the whole

    def resync(
        self,
        peers: Mapping[PeerKey, PeerValue],
        ports: Mapping[PortKey, PortValue],
        blocks: Iterable[Block],
        assignments: Iterable[Assignment],
    ) -> int:
        """Make the tables equal to all of this, without a gap; how many rows were wrong. ExhaustedError."""
        self._number += 1
        have_peers, have_ports = self.rows.peers(), self.rows.ports()
        new_ports = {key: value for key, value in ports.items() if have_ports.get(key) != value}
        new_peers = {
            key: value._replace(classes=value.classes | have_peers.get(key, value).classes)
            for key, value in peers.items()
            if have_peers.get(key) != value
        }
        old_ports = tuple(key for key in have_ports if key not in ports)
        old_peers = tuple(key for key in have_peers if key not in peers)
        if new_ports:
            self._do(PutPorts(new_ports), self._number)
        if new_peers:
            self._do(PutPeers(new_peers), self._number)
        self._do(PutBlocks(tuple(blocks)), self._number)
        self._do(Grace(), self._number)
        self._do(Flip(tuple(assignments)), self._number)
        self.rows.maps.bump_revision()
        numbers = {key.policy for key in old_peers} | {key.peer.policy for key in old_ports}
        numbers -= {key.policy for key in peers}
        narrowed = {key: peers[key] for key, value in new_peers.items() if value != peers[key]}
        tail: list[Step] = [Grace(), DropPeers(old_peers), DropPorts(old_ports), PutPeers(narrowed)]
        self._sweep_later((*tail, Retire(tuple(sorted(numbers)))))
        return len(new_ports) + len(new_peers) + len(old_ports) + len(old_peers)

    # -- steps

    def _do(self, step: Step, number: int) -> bool:
        """One step; whether packets can notice. Keys that a later change has written are left alone."""
        match step:
            case PutPorts(rows):
                self.rows.put_ports(self._still(rows, number))
                self._note(rows, number)
            case PutPeers(rows):
                self.rows.put_peers(self._still(rows, number))
                self._note(rows, number)
                return True
            case DropPeers(keys):
                self.rows.drop_peers([key for key in keys if self._written.get(key, -1) <= number])
                return True
            case DropPorts(keys):
                self.rows.drop_ports([key for key in keys if self._written.get(key, -1) <= number])
            case PutBlocks(blocks):
                self._hands.blocks({block.prefix: block.identity.number for block in blocks})
                return True
            case DropBlocks(blocks):
                self._hands.blocks({one.prefix: None for one in blocks})
                return True
            case Flip(assignments):
                flipped = [self._hands.flip(one) for one in assignments]  # all of them, whatever the first says
                return any(flipped)
            case Grace():
                with bpf.expedited_rcu():
                    bpf.wait_for_programs()
            case Retire(numbers):
                self._hands.released(numbers)
        return False

    def _still(self, rows: Mapping[PeerKey, PeerValue] | Mapping[PortKey, PortValue], number: int) -> dict:  # type: ignore[type-arg]
        if not self._sweeps:
            return dict(rows)
        return {key: value for key, value in rows.items() if self._written.get(key, -1) <= number}

    def _note(self, keys: Iterable[PeerKey | PortKey], number: int) -> None:
        if self._sweeps:
            self._written.update(dict.fromkeys(keys, number))

    # -- sweeping

    def _sweep_later(self, steps: tuple[Step, ...]) -> None:
        loop = asyncio.get_running_loop()
        self._sweeps.append(_Sweep(loop.time() + SWEEP_SECONDS, self._number, steps))
        if self._timer is None:
            self._timer = loop.call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._sweeps and self._sweeps[0].due <= loop.time():
            sweep = self._sweeps.popleft()
            for step in sweep.steps:
                if not isinstance(step, Grace):
                    self._do(step, sweep.number)
        if self._sweeps:
            self._timer = loop.call_later(max(0.0, self._sweeps[0].due - loop.time()), self._sweep)
        else:
            self._written.clear()


def _now_and_later(steps: list[Step]) -> tuple[list[Step], list[Step]]:
    """What is done at once, and what is swept later. Pure."""
    last = max((at for at, step in enumerate(steps) if isinstance(step, Flip | DropBlocks)), default=-1)
    if last < 0:
        last = next((at for at, step in enumerate(steps) if isinstance(step, Grace)), len(steps)) - 1
    return steps[: last + 1], steps[last + 1 :]


__all__ = ["ExhaustedError", "Hands", "PolicyTables"]
