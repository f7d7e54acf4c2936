"""What a node does of kube-proxy's work, in the lines of `cilium-dbg status --verbose` (KubeProxyReplacement).

Whoever attaches programs that read the service tables says so in ``Abilities``; tables alone answer nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glasshive.model.address import Address, render
from glasshive.service.settings import ServiceSettings

ENABLED, DISABLED = "Enabled", "Disabled"
NODE_PORT_RANGE = "30000-32767"


@dataclass(slots=True)
class Abilities:
    """Which programs are in place on the node."""

    socket: bool = False
    """Socket programs translate calls of the node's own processes and of its pods."""
    devices: bool = False
    """Programs at the node's devices translate calls from outside."""
    xdp: str = DISABLED
    """``Native``, ``Generic`` or ``Disabled``."""


def details(
    abilities: Abilities, settings: ServiceSettings, device: str, addresses: tuple[Address, ...]
) -> dict[str, Any]:
    """Line -> text, in order; ``Services`` is a mapping of its own."""
    outside = ENABLED if abilities.devices else DISABLED
    anywhere = ENABLED if abilities.socket or abilities.devices else DISABLED
    mode = "SNAT"  # what the programs do today, whatever was asked for
    if settings.mode != "snat":
        mode = f"SNAT ({settings.mode} was asked for and is not done yet)"
    selection = "Random" if settings.algorithm == "random" else f"Maglev (Table Size: {settings.table_size})"
    return {
        "Status": str(abilities.socket and abilities.devices),
        "Socket LB": ENABLED if abilities.socket else DISABLED,
        "Socket LB Tracing": DISABLED,
        "Socket LB Coverage": "Full" if abilities.socket else "None",
        "Devices": f"{device} {' '.join(render(one) for one in addresses)} (Direct Routing)",
        "Mode": mode,
        "Backend Selection": selection,
        "Session Affinity": anywhere,
        "Graceful Termination": ENABLED,
        "NAT46/64 Support": DISABLED,
        "XDP Acceleration": abilities.xdp,
        "Services": {
            "ClusterIP": anywhere,
            "NodePort": f"{outside} (Range: {NODE_PORT_RANGE})",
            "LoadBalancer": outside,
            "externalIPs": outside,
            "HostPort": outside,
        },
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The same as text."""
    text = ["KubeProxyReplacement Details:"]
    for name, value in found.items():
        if isinstance(value, dict):
            text.append(f"  {name}:")
            text += [f"  - {f'{one}:':<16}{state}" for one, state in value.items()]
        else:
            text.append(f"  {f'{name}:':<22}{value}")
    return text
