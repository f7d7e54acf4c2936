"""A local endpoint: what a node knows about one of its pods. Also the form in which it survives the agent (JSON)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from glasshive.errors import UsageError
from glasshive.model.address import Address, is_ipv4, parse, render

IFINDEX_OFFSET = 100_000
"""Host side interface index of endpoint n is this plus n: known before the interface exists."""
ID_MAX = 65_535


@dataclass(frozen=True, slots=True)
class PodRef:
    """Name of a pod; ``uid`` is empty when the caller did not say."""

    namespace: str
    name: str
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Enforcement:
    """Which policy an endpoint has, and where it is asked. ``policy`` 0: none; then neither direction may be on."""

    policy: int = 0
    ingress: bool = False
    egress: bool = False
    audit: bool = False
    """What the policy refuses passes all the same, and is told."""


NOT_ENFORCED = Enforcement()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One attached pod. ``mac`` is the pod's side, ``host_mac`` the host side (the pod's next hop), both 6 bytes."""

    id: int
    container_id: str
    ifname: str
    netns: str
    pod: PodRef
    addresses: tuple[Address, ...]
    mac: bytes
    host_mac: bytes
    mtu: int
    identity: int
    enforcement: Enforcement = NOT_ENFORCED

    @property
    def ifindex(self) -> int:
        """Interface index of the host side."""
        return IFINDEX_OFFSET + self.id

    @property
    def host_ifname(self) -> str:
        """Interface name of the host side."""
        return f"gh{self.id:x}"

    def to_json(self) -> dict[str, Any]:
        """The file form; ``from_json`` reads it."""
        return {
            "id": self.id,
            "containerId": self.container_id,
            "ifname": self.ifname,
            "netns": self.netns,
            "namespace": self.pod.namespace,
            "pod": self.pod.name,
            "uid": self.pod.uid,
            "addresses": [render(one) for one in self.addresses],
            "mac": self.mac.hex(":"),
            "hostMac": self.host_mac.hex(":"),
            "mtu": self.mtu,
            "identity": self.identity,
            **({"enforcement": asdict(self.enforcement)} if self.enforcement != NOT_ENFORCED else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Endpoint of its file form; UsageError names the field that is missing or wrong."""
        try:
            return cls(
                id=int(data["id"]),
                container_id=str(data["containerId"]),
                ifname=str(data["ifname"]),
                netns=str(data["netns"]),
                pod=PodRef(str(data["namespace"]), str(data["pod"]), str(data["uid"])),
                addresses=tuple(parse(text) for text in data["addresses"]),
                mac=bytes.fromhex(data["mac"].replace(":", "")),
                host_mac=bytes.fromhex(data["hostMac"].replace(":", "")),
                mtu=int(data["mtu"]),
                identity=int(data["identity"]),
                enforcement=Enforcement(**data.get("enforcement", {})),
            )
        except KeyError as error:
            raise UsageError(f"an endpoint record lacks the field {error}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"an endpoint record has a wrong value: {error}") from error

    def ipv4(self) -> str | None:
        """Text of the IPv4 address, if any."""
        return next((render(one) for one in self.addresses if is_ipv4(one)), None)

    def ipv6(self) -> str | None:
        """Text of the IPv6 address, if any."""
        return next((render(one) for one in self.addresses if not is_ipv4(one)), None)
