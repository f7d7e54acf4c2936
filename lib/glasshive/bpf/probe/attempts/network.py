"""Which devices, tunnels, queueing disciplines and filters the kernel has, tried in a private network namespace.

Standard library only (see ``syscalls``).
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import struct

from . import rtnetlink
from .answer import Attempt, Missing

_COLLECT_METADATA_VXLAN = rtnetlink.attribute(25, b"\1") + rtnetlink.attribute(15, struct.pack(">H", 8472))
_COLLECT_METADATA_GENEVE = rtnetlink.attribute(6, b"") + rtnetlink.attribute(5, struct.pack(">H", 6081))
_VRF_TABLE = rtnetlink.attribute(1, struct.pack("<I", 1010))
_XFRM_IF_ID = rtnetlink.attribute(2, struct.pack("<I", 42))

DEVICES: dict[str, bytes] = {
    "dummy": b"", "veth": b"", "bridge": b"", "vxlan": _COLLECT_METADATA_VXLAN, "geneve": _COLLECT_METADATA_GENEVE,
    "wireguard": b"", "netkit": b"", "ifb": b"", "vrf": _VRF_TABLE, "ipip": b"", "gre": b"", "xfrm": _XFRM_IF_ID,
}  # fmt: skip
STACKED = ("macvlan", "ipvlan", "vlan")
# The options a discipline cannot do without are left out: that the kernel objects to their absence shows it knows it.
DISCIPLINES = ("fq", "fq_codel", "netem", "tbf", "htb", "prio", "sfq", "cake", "ingress")
FILTERS = ("bpf", "u32", "flower", "matchall", "fw")


def _device(kind: str, data: bytes) -> str:
    rtnetlink.delete_link(rtnetlink.add_link("ghprobe2", kind, data))
    return "a device was made"


def _stacked(kind: str) -> str:
    with rtnetlink.scratch_device() as below:  # deleting it takes the stacked device with it
        data = rtnetlink.attribute(1, struct.pack("<H", 7)) if kind == "vlan" else b""
        rtnetlink.add_link(
            "ghprobe4", kind, data, extra=rtnetlink.attribute(rtnetlink.IFLA_LINK, struct.pack("<I", below))
        )
    return "a device was made"


def _discipline(kind: str) -> str:
    with rtnetlink.scratch_device() as ifindex:
        try:
            if kind == "ingress":
                rtnetlink.add_qdisc(ifindex, kind, parent=rtnetlink.CLSACT_PARENT, handle=0xFFFF0000)
            else:
                rtnetlink.add_qdisc(ifindex, kind)
        except OSError as refusal:
            if not rtnetlink.known(refusal):
                raise
            return "the kernel knows it"
    return "one was put on a device"


def _filter(kind: str) -> str:
    with rtnetlink.scratch_device() as ifindex:
        rtnetlink.add_clsact(ifindex)
        try:
            rtnetlink.add_filter(ifindex, kind, b"")
        except OSError as refusal:
            if not rtnetlink.known(refusal):
                raise
            return "the kernel knows it"
    return "one was put on a device"


def _tun() -> str:
    import fcntl

    with open("/dev/net/tun", "r+b", buffering=0) as handle:  # noqa: PTH123
        fcntl.ioctl(
            handle, 0x400454CA, struct.pack("16sH22x", b"ghprobe7", 0x0001 | 0x1000)
        )  # TUNSETIFF, IFF_TUN | NO_PI
    return "a device was made"


def _protocol(family: int, kind: int, protocol: int) -> str:
    with contextlib.closing(socket.socket(family, kind, protocol)):
        return "a socket was opened"


def _congestion(name: str) -> str:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
    return "a TCP socket accepts it"


def _transparent() -> str:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
    return "a socket accepts IP_TRANSPARENT"


def _tls() -> str:
    """Put the kernel's TLS on a connected socket of our own."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.setsockopt(socket.IPPROTO_TCP, 31, b"tls")  # TCP_ULP
    return "a connected socket accepts it"


def _dual_stack() -> str:
    if not os.path.exists("/proc/net/if_inet6"):  # noqa: PTH110
        raise Missing("the kernel has no IPv6 (CONFIG_IPV6, or ipv6.disable=1 on its command line)")
    with contextlib.closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as sock:
        sock.bind(("::1", 0))
    return "a socket was bound to ::1"


def attempts() -> list[Attempt]:
    """Give every attempt of this module."""
    found = [Attempt(f"link:{name}", functools.partial(_device, name, data)) for name, data in DEVICES.items()]
    found += [Attempt(f"link:{name}", functools.partial(_stacked, name)) for name in STACKED]
    found.append(Attempt("link:tun", _tun))
    found += [Attempt(f"qdisc:{name}", functools.partial(_discipline, name)) for name in DISCIPLINES]
    found += [Attempt(f"filter:{name}", functools.partial(_filter, name)) for name in FILTERS]
    found += [
        Attempt("net:ipv6", _dual_stack),
        Attempt("net:sctp", functools.partial(_protocol, socket.AF_INET, socket.SOCK_STREAM, 132)),
        Attempt("net:packet", functools.partial(_protocol, 17, socket.SOCK_RAW, 0)),
        Attempt("net:xdp_socket", functools.partial(_protocol, 44, socket.SOCK_RAW, 0)),
        Attempt("net:bbr", functools.partial(_congestion, "bbr")),
        Attempt("net:tproxy", _transparent),
        Attempt("net:kernel_tls", _tls),
        Attempt("net:xfrm", functools.partial(_protocol, socket.AF_NETLINK, socket.SOCK_RAW, 6)),
        Attempt("net:nftables", functools.partial(_protocol, socket.AF_NETLINK, socket.SOCK_RAW, 12)),
    ]
    return found
