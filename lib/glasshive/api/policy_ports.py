"""Ports, protocols and ICMP types of every policy kind -> ``Ports`` values."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from glasshive.api.policy_reading import Reading
from glasshive.api.policy_schema import near_names
from glasshive.model.policy import ICMP, ICMPV6, PORT_MAX, PROTOCOL_ANY, SCTP, TCP, UDP, Ports

Object = dict[str, Any]
IGMP, VRRP = 2, 112
# Numbers of the IANA registry of protocol numbers.
PROTOCOLS = {"ANY": PROTOCOL_ANY, "TCP": TCP, "UDP": UDP, "SCTP": SCTP, "ICMP": ICMP, "ICMPV6": ICMPV6,
             "VRRP": VRRP, "IGMP": IGMP}  # fmt: skip
_TRANSPORT = (PROTOCOL_ANY, TCP, UDP, SCTP)
# A service name (RFC 6335, 5.1): up to 15 letters, digits and single hyphens, at least one letter.
_SERVICE_NAME = re.compile(r"(?=.{1,15}\Z)(?=.*[A-Za-z])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
# Message types by name, of the IANA registries of ICMP and ICMPv6 parameters.
ICMP_TYPES = {
    "IPv4": {
        "EchoReply": 0, "DestinationUnreachable": 3, "Redirect": 5, "Echo": 8, "EchoRequest": 8,
        "RouterAdvertisement": 9, "RouterSelection": 10, "TimeExceeded": 11, "ParameterProblem": 12, "Timestamp": 13,
        "TimestampReply": 14, "Photuris": 40, "ExtendedEchoRequest": 42, "ExtendedEchoReply": 43,
    },
    "IPv6": {
        "DestinationUnreachable": 1, "PacketTooBig": 2, "TimeExceeded": 3, "ParameterProblem": 4, "EchoRequest": 128,
        "EchoReply": 129, "MulticastListenerQuery": 130, "MulticastListenerReport": 131, "MulticastListenerDone": 132,
        "RouterSolicitation": 133, "RouterAdvertisement": 134, "NeighborSolicitation": 135,
        "NeighborAdvertisement": 136, "RedirectMessage": 137, "RouterRenumbering": 138,
        "ICMPNodeInformationQuery": 139, "ICMPNodeInformationResponse": 140,
        "InverseNeighborDiscoverySolicitation": 141, "InverseNeighborDiscoveryAdvertisement": 142,
        "HomeAgentAddressDiscoveryRequest": 144, "HomeAgentAddressDiscoveryReply": 145, "MobilePrefixSolicitation": 146,
        "MobilePrefixAdvertisement": 147, "DuplicateAddressRequestCodeSuffix": 157,
        "DuplicateAddressConfirmationCodeSuffix": 158, "ExtendedEchoRequest": 160, "ExtendedEchoReply": 161,
    },
}  # fmt: skip


@lru_cache(maxsize=1 << 14)
def ports(protocol: int, first: int = 0, last: int = PORT_MAX, name: str = "") -> Ports:
    """A value; equal ones are one object."""
    return Ports(protocol, first, last, name)


EVERYTHING = ports(PROTOCOL_ANY)
"""Port "0" of protocol ANY: not only TCP, UDP and SCTP, but every packet."""


def cilium_port(one: Object, path: str, reading: Reading) -> Ports | None:
    """One element of ``toPorts[].ports``; None after an error. Port "0" is every port of the protocol."""
    text, end = one["port"], one.get("endPort") or 0
    word = (one.get("protocol") or "ANY").upper()
    protocol = PROTOCOLS[word]
    if not text:
        reading.error(f"{path}.port", "port must be specified")
        return None
    if not text.isdecimal():
        return _cilium_name(text, protocol, path, reading, ranged=bool(end))
    number = int(text)
    if number > PORT_MAX or (text[0] == "0" and text != "0"):
        reading.error(f"{path}.port", f"port {text} is out of range (0 to 65535)")
        return None
    if protocol not in _TRANSPORT:
        if number or end:
            what = "message types belong in icmps" if protocol in (ICMP, ICMPV6) else "the protocol has no ports"
            reading.error(f"{path}.port", f'must be "0" with protocol {word}: {what}')
            return None
        return ports(protocol)
    if not end or end == number:
        return ports(protocol, number, number) if number else ports(protocol)
    if not number:
        reading.error(f"{path}.endPort", 'port "0" is every port and takes no endPort')
        return None
    if end < number:
        reading.error(f"{path}.endPort", f"endPort {end} is less than port {number}")
        return None
    return ports(protocol, number, end)


def _cilium_name(text: str, protocol: int, path: str, reading: Reading, *, ranged: bool) -> Ports | None:
    if not _SERVICE_NAME.fullmatch(text):
        reading.error(f"{path}.port", f"unable to parse port: {text!r} is no number from 0 to 65535 and no port name")
    elif ranged:
        reading.error(f"{path}.endPort", "a named port takes no endPort")
    elif protocol not in _TRANSPORT:
        reading.error(f"{path}.port", "this protocol has no ports, so no named ones")
    else:
        return ports(protocol, name=text.lower())
    return None


def icmp_types(field: Object, path: str, reading: Reading) -> Ports | None:
    """One element of ``icmps[].fields``; None after an error."""
    family, given = field.get("family") or "IPv4", field["type"]
    protocol = ICMPV6 if family == "IPv6" else ICMP
    if isinstance(given, str) and not given.isdecimal():
        number = ICMP_TYPES[family].get(given)
        if number is None:
            near = near_names(given, ICMP_TYPES[family])
            more = f": did you mean {' or '.join(near)}?" if near else f", one of {', '.join(ICMP_TYPES[family])}"
            reading.error(f"{path}.type", f"{given!r} is no {family} ICMP type{more}")
            return None
        return ports(protocol, number, number)
    if not 0 <= int(given) <= 255:
        reading.error(f"{path}.type", f"ICMP type {given} is out of range (0 to 255)")
        return None
    return ports(protocol, int(given), int(given))


def kubernetes_port(one: Object, path: str, reading: Reading) -> Ports | None:
    """One element of a NetworkPolicy's ``ports``; None after an error. No port is every port of the protocol."""
    protocol = PROTOCOLS[one.get("protocol") or "TCP"]
    given, end = one.get("port"), one.get("endPort")
    if given is None:
        if end is not None:
            reading.error(f"{path}.endPort", "needs a port to begin at")
        return ports(protocol)
    if isinstance(given, str):
        if not _SERVICE_NAME.fullmatch(given) or given != given.lower():
            number = ": write it without quotes" if given.isdecimal() else ""
            reading.error(f"{path}.port", f"{given!r} is not the name of a port{number}")
        elif end is not None:
            reading.error(f"{path}.endPort", "a named port takes no endPort")
        return ports(protocol, name=given)
    if not 1 <= given <= PORT_MAX:
        reading.error(f"{path}.port", f"port {given} is out of range (1 to 65535)")
        return None
    return port_range(protocol, given, given if end is None else end, f"{path}.endPort", reading)


def port_range(protocol: int, first: int, last: int, path: str, reading: Reading) -> Ports | None:
    """Ports ``first`` to ``last``; None after an error at ``path``, the field of the last."""
    if last < first:
        reading.error(path, f"endPort {last} is less than port {first}")
        return None
    if last > PORT_MAX:
        reading.error(path, f"port {last} is out of range (1 to 65535)")
        return None
    return ports(protocol, first, last)
