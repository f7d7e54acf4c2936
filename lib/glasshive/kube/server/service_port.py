"""Node ports of Services: each protocol and port given to one Service only, freed with it.

The same number may serve TCP and UDP of one Service. As with addresses, the state is what the stored Services hold. The
lower part of the range is left to numbers that people ask for by name.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from .status import FieldError, bad_value, forbidden_field

Object = dict[str, Any]
PORTS = range(30000, 32768)
HEALTH = "healthCheckNodePort"
_RESERVED = 86
"""As many at the start of the range as upstream keeps for those who name them."""
_Slot = tuple[str, int]


class NodePorts:
    """Who holds which (protocol, port)."""

    def __init__(self, ports: range = PORTS) -> None:
        self.ports = ports
        self._held: dict[_Slot, str] = {}

    def hold(self, service: Object, owner: str) -> None:
        """Mark a Service's node ports as held."""
        for slot in slots_of(service):
            self._held[slot] = owner

    def release(self, service: Object, owner: str, keep: Object | None = None) -> None:
        """Give back what a Service held, but for what its next version ``keep`` has."""
        for slot in set(slots_of(service)) - set(slots_of(keep or {})):
            if self._held.get(slot) == owner:
                del self._held[slot]

    def assign(self, spec: Object, before: Object, owner: str) -> list[FieldError]:
        """Give a Service's ports their numbers. With faults returned, nothing was taken and the spec is unfinished."""
        ports = [port for port in spec.get("ports") or [] if isinstance(port, dict)]
        chosen: set[_Slot] = set()
        faults = self._health(spec, before, owner, chosen)
        if not wanted(spec):
            faults += _without(spec, ports, before)
            if not faults:
                self._held |= dict.fromkeys(chosen, owner)
            return faults
        _inherit(ports, before)
        for at, port in enumerate(ports):
            number, protocol = int(port.get("nodePort") or 0), str(port.get("protocol") or "TCP")
            if number:
                fault = self._refusal(f"spec.ports[{at}].nodePort", (protocol, number), owner, chosen)
                faults += [fault] if fault else []
            else:
                number = _shared(ports, port, chosen) or self._free(chosen, protocol)
                if not number:
                    text = f"all node ports from {self.ports.start} to {self.ports.stop - 1} are in use"
                    faults.append(forbidden_field(f"spec.ports[{at}].nodePort", text))
                port["nodePort"] = number
            chosen.add((protocol, number))
        if not faults:
            self._held |= dict.fromkeys(chosen, owner)
        return faults

    def _health(self, spec: Object, before: Object, owner: str, chosen: set[_Slot]) -> list[FieldError]:
        """The port on which nodes tell a load balancer whether they have endpoints: for local traffic policy only."""
        field, had, given = f"spec.{HEALTH}", before.get(HEALTH), spec.get(HEALTH)
        if spec.get("type") != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
            if given and given != had:
                text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
                return [bad_value(field, given, text)]
            spec.pop(HEALTH, None)
            return []
        if had and given and given != had:
            return [bad_value(field, given, "field is immutable")]
        number = int(given or had or self._free(chosen, "TCP"))
        fault = self._refusal(field, ("TCP", number), owner, chosen) if number else None
        if fault is not None or not number:
            return [fault or forbidden_field(field, "all node ports are in use")]
        spec[HEALTH] = number
        chosen.add(("TCP", number))
        return []

    def _refusal(self, field: str, slot: _Slot, owner: str, chosen: set[_Slot]) -> FieldError | None:
        if slot[1] not in self.ports:
            text = f"provided port is not in the valid range. The range of valid ports is {_shown(self.ports)}"
            return bad_value(field, slot[1], text)
        holder = self._held.get(slot, owner)
        if holder != owner:
            return bad_value(field, slot[1], f"provided port is already allocated (by service {holder})")
        return bad_value(field, slot[1], "provided port is given twice in this service") if slot in chosen else None

    def _free(self, chosen: Iterable[_Slot], protocol: str) -> int:
        """Return a port that nobody has for any protocol, or for this one if there is no such; 0 if all are taken."""
        span = self.ports[_RESERVED:] if len(self.ports) > 2 * _RESERVED else self.ports
        for _ in range(32):  # nearly always the first is free
            port = span[secrets.randbelow(len(span))]
            if not self._taken(port, chosen):
                return port
        anyhow = (port for port in (*span, *self.ports) if not self._taken(port, chosen))
        this = (p for p in self.ports if (protocol, p) not in self._held and (protocol, p) not in chosen)
        return next(anyhow, 0) or next(this, 0)

    def _taken(self, port: int, chosen: Iterable[_Slot]) -> bool:
        return any((p, port) in self._held for p in ("TCP", "UDP", "SCTP")) or port in {number for _, number in chosen}


def slots_of(service: Object) -> list[_Slot]:
    """Return what a Service has: (protocol, node port) of its ports, and its health check's."""
    spec = service.get("spec") or {}
    health = [("TCP", int(spec[HEALTH]))] if spec.get(HEALTH) else []
    ports = [p for p in spec.get("ports") or [] if p.get("nodePort")]
    return [(str(p.get("protocol") or "TCP"), int(p["nodePort"])) for p in ports] + health


def wanted(spec: Object) -> bool:
    """Tell whether a Service has node ports."""
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def _without(spec: Object, ports: list[Object], before: Object) -> list[FieldError]:
    """A Service that stops having node ports drops them; one that never had any may not name one."""
    had = {number for _, number in slots_of({"spec": before})}
    faults = []
    for at, port in enumerate(ports):
        number = port.get("nodePort")
        if number in had and spec.get("type") != "LoadBalancer":
            port.pop("nodePort")
        elif number and spec.get("type") in {"ClusterIP", None}:
            text = "may not be used when `type` is 'ClusterIP'"
            faults.append(forbidden_field(f"spec.ports[{at}].nodePort", text))
        elif not number:
            port.pop("nodePort", None)
    return faults


def _inherit(ports: list[Object], before: Object) -> None:
    """Let ports that do not name a number keep the one they had."""
    had = {(p.get("protocol") or "TCP", p.get("port")): p.get("nodePort") for p in before.get("ports") or []}
    for port in ports:
        known = had.get((port.get("protocol") or "TCP", port.get("port")))
        if known and not port.get("nodePort"):
            port["nodePort"] = known


def _shared(ports: list[Object], port: Object, chosen: set[_Slot]) -> int:
    """Return the number that another protocol of the same port has got: DNS wants one number for TCP and UDP."""
    protocol = port.get("protocol") or "TCP"
    for other in ports:
        number = int(other.get("nodePort") or 0)
        same = other is not port and other.get("port") == port.get("port")
        if same and number and (protocol, number) not in chosen and other.get("protocol", "TCP") != protocol:
            return number
    return 0


def _shown(ports: range) -> str:
    return f"{ports.start}-{ports.stop - 1}"
