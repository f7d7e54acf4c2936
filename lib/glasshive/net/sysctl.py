"""Settings below /proc/sys/net of one network namespace.

/proc/sys/net shows the namespace of the thread that opens it, so these run inside the namespace (``netns.in_netns``)
and need no mount of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from glasshive.errors import KernelError
from glasshive.net import netns

_ROOT = Path("/proc/sys")

ROUTER = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/accept_local": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
}
"""A namespace that forwards for pods: asymmetric paths through BPF redirects are normal there, so no reverse path
filter.
"""

QUIET_IPV6 = {"net/ipv6/conf/default/addr_gen_mode": "1"}
"""New devices get no link-local address."""

ANYONE_MAY_PING = {"net/ipv4/ping_group_range": "0 2147483647"}
"""ICMP sockets without NET_RAW."""


def write(settings: Mapping[str, str], target: netns.Target | None = None) -> None:
    """Set each ``path below /proc/sys`` (dots are not translated) in the namespace; None: the calling thread's own.

    Raises KernelError naming the setting.
    """
    if target is None:
        _write(settings)
    else:
        netns.in_netns(target, lambda: _write(settings))


def read(name: str, target: netns.Target | None = None) -> str:
    """One setting's value, stripped."""
    if target is None:
        return (_ROOT / name).read_text(encoding="ascii").strip()
    return netns.in_netns(target, lambda: read(name))


def _write(settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        try:
            (_ROOT / name).write_text(value, encoding="ascii")
        except OSError as error:
            raise KernelError(f"sysctl {name} = {value}", error.errno or 0) from None
