"""For tests of services: objects in a few words, and a node's tables read back as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glasshive.api.resources import ENDPOINT_SLICE, SERVICE
from glasshive.bpf import Map
from glasshive.maps import services as maps
from glasshive.maps.services import ServiceMaps
from glasshive.model.service import TYPE_NAMES, BackendState, FrontendFlag, FrontendType, Place


def service(name: str, *ports: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """A Service object; a port is ``[name=]port[/PROTOCOL][:nodePort]``."""
    made = []
    for text in ports or ("80",):
        label, _, rest = text.rpartition("=")
        rest, _, node_port = rest.partition(":")
        number, _, protocol = rest.partition("/")
        one: dict[str, Any] = {"port": int(number), "protocol": protocol or "TCP"}
        made.append(one | ({"name": label} if label else {}) | ({"nodePort": int(node_port)} if node_port else {}))
    metadata = {"annotations": spec.pop("annotations", {}), "labels": spec.pop("labels", {})}
    return SERVICE.object(name, namespace, metadata=metadata, spec={"ports": made, **spec})


def endpoint(address: str, node: str = "", *, state: str = "ready", **more: Any) -> dict[str, Any]:
    """An endpoint of a slice; ``state``: ready, unready, terminating, gone (terminates and serves no more)."""
    conditions = {
        "ready": {"ready": True, "serving": True, "terminating": False},
        "unready": {"ready": False, "serving": False, "terminating": False},
        "terminating": {"ready": False, "serving": True, "terminating": True},
        "gone": {"ready": False, "serving": False, "terminating": True},
    }[state]
    made = {"addresses": [address], "conditions": conditions, **more}
    return made | ({"nodeName": node} if node else {})


def slice_of(
    name: str, endpoints: list[dict[str, Any]], *ports: str, family: str = "IPv4", namespace: str = "default",
    part: str = "",
) -> dict[str, Any]:  # fmt: skip
    """An EndpointSlice object of the Service ``name``; a port is ``[name=]port[/PROTOCOL]``."""
    made = []
    for text in ports or ("8080",):
        label, _, rest = text.rpartition("=")
        number, _, protocol = rest.partition("/")
        made.append({"name": label, "port": int(number), "protocol": protocol or "TCP"})
    return ENDPOINT_SLICE.object(
        f"{name}-{part or family.lower()}", namespace,
        metadata={"labels": {"kubernetes.io/service-name": name}},
        addressType=family, endpoints=endpoints, ports=made,
    )  # fmt: skip


def kernel(cluster: str, node: str) -> ServiceMaps:
    """A node's maps."""
    pins = Path("/sys/fs/bpf/glasshive") / cluster / node / "maps"
    return ServiceMaps({name: Map.open(pins / name) for name in maps.NAMES if (pins / name).exists()})


def table(found: maps.ServiceKernel) -> dict[str, str]:
    """Frontends as text -> what is behind them, as text."""
    frontends = found.frontends()  # first, as the agent writes them last
    slots, rows = found.slots(), found.backends()

    def members(one: maps.SetRow) -> str:
        texts = []
        for number in slots[one.first : one.first + one.size].tolist():
            row = rows[number]
            state = "" if row.state == BackendState.ACTIVE else f" ({BackendState(row.state).name.lower()})"
            texts.append(f"{row.place}{state}{' local' if row.flags & maps.LOCAL else ''}")
        return ", ".join(sorted(texts)) or "nobody"

    told = {}
    for place, row in frontends.items():
        flags = " ".join(sorted(flag.name.lower() for flag in FrontendFlag(row.flags) if flag.name))
        inside, outside = members(row.internal), members(row.external)
        both = inside if inside == outside else f"{inside} | {outside}"
        told[str(place)] = f"{TYPE_NAMES[FrontendType(row.type)]} [{flags}] {both}"
    return told


def ids(found: maps.ServiceKernel) -> tuple[dict[Place, int], dict[Place, int]]:
    """Ids of frontends, and numbers of backends that are not gone."""
    rows = found.backends()
    return (
        {place: row.id for place, row in found.frontends().items()},
        {row.place: number for number, row in rows.items() if row.state != BackendState.GONE},
    )
