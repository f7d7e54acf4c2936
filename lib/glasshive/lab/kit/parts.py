"""A cluster's components in a lab: show them, take them away, bring them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab import components
from glasshive.lab.kit.place import Place

if TYPE_CHECKING:
    from glasshive.lab.faults import Truth
    from glasshive.widgets import MapTable


class Parts(Place):
    """The part of a lab that deals with components."""

    def components(self, *names: str) -> MapTable:
        """Show the cluster's components (or those named): state, and restarts since the lab was opened."""
        from glasshive.widgets import MapTable

        view = MapTable("components", components.rows(self.cluster, self._restarts_before, names))
        self._views.append(view)
        return view

    def stop(self, *names: str) -> str:
        """Kill components and keep them from being restarted."""
        for name in names:
            self.cluster.stop(name, kill=True)
        return f"killed, and kept down: {', '.join(names)}"

    def start(self, *names: str) -> str:
        """Start components that were stopped; gives which are ready now."""
        for name in names:
            self.cluster.start(name)
        return f"ready: {', '.join(names)}"

    def crash(self, name: str) -> str:
        """Kill a component as a crash would, and wait for its successor."""
        return components.crash(self.cluster, name)

    def abilities(self, client: str, server: str) -> MapTable:
        """Try what people want of a cluster: reach a pod by address and by name, and talk to the API."""
        from glasshive.widgets import MapTable

        view = MapTable("what works", components.abilities(self.cluster, self.namespace, client, server))
        self._views.append(view)
        return view

    def inject(self, fault: str, **params: Any) -> Truth:
        """Break one thing of the cluster; see ``glasshive.lab.faults``. Gives the ground truth; a reset heals it."""
        from glasshive.lab import faults

        return faults.inject(self.cluster, fault, owner=self.namespace, **params)

    def heal(self) -> list[Truth]:
        """Heal every fault that this lab has injected; gives which."""
        from glasshive.lab import faults

        return faults.heal_all(self.cluster, owner=self.namespace)
