"""A lab's own programs: the workshop that loads what a ``%%bpf --object`` cell says, and the wire that they sit on."""

from __future__ import annotations

from pathlib import Path

from glasshive.lab.asked import Asked, ask
from glasshive.lab.kit.kernel import Kernel
from glasshive.lab.wire import PLACES, Wire
from glasshive.lab.workshop import Place, Workshop

_POD_DEVICE = "eth0"


class Programs(Kernel):
    """The part of a lab that loads and attaches programs which the learner has written."""

    @property
    def workshop(self) -> Workshop:
        """Where the lab's programs are compiled, loaded and pinned."""
        return Workshop(self.cluster.name, self.namespace, self._place)

    def wire(self) -> Wire:
        """Make the lab's wire (three namespaces in a row; see ``glasshive.lab.wire``), if it is not there yet."""
        found = self._wire
        found.make()
        return found

    def ask(self, pod: str, address: str, port: int, *, count: int = 36, wait_s: float = 3.0) -> Asked:
        """Send HTTP requests from a pod, each over a connection of its own; says how many were answered, by whom."""
        return ask(lambda argv, most_s: self.exec(pod, argv, timeout_s=most_s), address, port, count, wait_s)

    @property
    def _wire(self) -> Wire:
        return Wire(self.cluster.name, self.namespace)

    def _place(self, name: str) -> Place:
        """Where a program may be attached: at a place of the wire, or at a pod of the lab."""
        if name in PLACES and self._wire.up:
            return self._wire.find(name)
        return Path(self.endpoint(name)["netns"]), _POD_DEVICE

    def _clear_programs(self) -> None:
        """Detach, unload and remove all of it."""
        self.workshop.clear()
        self._wire.remove()
