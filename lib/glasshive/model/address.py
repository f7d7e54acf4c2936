"""The one address type: 16 bytes in network order, IPv4 as v4-mapped IPv6 (RFC 4291, 2.5.5.2).

The same bytes are what ``union gh_address`` of ``bpf/types/address.h`` holds, so an address is never converted on its
way to or from a map. A prefix length counts from the front of the 16 bytes: IPv4 /24 is /120 in that form.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType

from glasshive.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Address = NewType("Address", bytes)

V4_MAPPED = bytes(10) + b"\xff\xff"
V4_OFFSET = 96
"""Bits before the IPv4 address in the v4-mapped form."""
ZERO = Address(bytes(16))


def parse(text: str) -> Address:
    """Address of its text form; UsageError for anything that is not one."""
    try:
        if ":" in text:
            return Address(socket.inet_pton(socket.AF_INET6, text))
        return Address(V4_MAPPED + socket.inet_pton(socket.AF_INET, text))
    except (OSError, ValueError) as error:
        raise UsageError(f"{text!r} is not an IP address") from error


def is_ipv4(address: bytes) -> bool:
    """Whether the 16 bytes hold a v4-mapped IPv4 address."""
    return address[:12] == V4_MAPPED


def render(address: bytes) -> str:
    """Text form: dotted quad for v4-mapped addresses, else RFC 5952."""
    if address[:12] == V4_MAPPED:
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


def render_all(addresses: NDArray[np.uint8]) -> list[str]:
    """Text forms of an (n, 16) array of addresses, each distinct address rendered once."""
    import numpy as np  # here, because policies and addresses are also read by programs that need no arrays

    raw = np.ascontiguousarray(addresses, dtype=np.uint8).tobytes()
    known: dict[bytes, str] = {}
    texts = []
    for at in range(0, len(raw), 16):
        one = raw[at : at + 16]
        text = known.get(one)
        if text is None:
            text = known[one] = render(one)
        texts.append(text)
    return texts


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """An address prefix; ``length`` counts bits of the 16-byte form. Bits beyond the length are zero."""

    length: int
    address: Address

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """Prefix of "10.244.0.0/16", "fd00::/48" or a single address."""
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise UsageError(f"{text!r} is not an address prefix: {error}") from error
        if network.version == 4:
            return cls(V4_OFFSET + network.prefixlen, Address(V4_MAPPED + network.network_address.packed))
        return cls(network.prefixlen, Address(network.network_address.packed))

    @classmethod
    def host(cls, address: Address) -> Prefix:
        """The prefix that holds this address alone."""
        return cls(128, address)

    def widened(self, length: int) -> Prefix:
        """The prefix of this length that holds this one; ``length`` is at most the own one."""
        spare = 128 - length
        bits = int.from_bytes(self.address, "big") >> spare << spare
        return Prefix(length, Address(bits.to_bytes(16, "big")))

    @property
    def is_ipv4(self) -> bool:
        """Whether every address of the prefix is IPv4."""
        return self.length >= V4_OFFSET and is_ipv4(self.address)

    def __str__(self) -> str:
        length = self.length - V4_OFFSET if self.is_ipv4 else self.length
        return f"{render(self.address)}/{length}"


def covers(outer: Prefix, inner: Prefix) -> bool:
    """Whether every address of ``inner`` is one of ``outer``'s."""
    return outer.length <= inner.length and inner.widened(outer.length) == outer


IPV4_ALL = Prefix(V4_OFFSET, Address(V4_MAPPED + bytes(4)))
IPV6_ALL = Prefix(0, ZERO)
