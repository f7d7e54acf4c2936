"""The shipped datapath objects, loaded for a test: constants, rows for their maps, and test runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glasshive import bpf
from glasshive.model.address import V4_OFFSET, ZERO, is_ipv4, parse

BUILD = Path(__file__).resolve().parent.parent / "bpf" / "build"
OBJECTS = ("pod", "host", "overlay", "socket")

OK, SHOT, REDIRECT = 0, 2, 7

IN_CLUSTER, TUNNEL, ONLINK = 1, 2, 4
HOST, ROUTER, INGRESS_ENFORCED, EGRESS_ENFORCED, AUDIT = 1, 2, 4, 8, 16
NODE_TUNNEL, NODE_MASQUERADE, NODE_IPV4, NODE_IPV6, NODE_ALLOW_LOCALHOST, NODE_VERDICT_RECORDS = 1, 2, 4, 8, 16, 32

SIZES = {"conntrack": 4096, "nat": 4096, "policy_peers": 1024, "policy_ports": 1024, "policy_rows": 65536}
"""Where nothing is said. Policies are cleared by the typed maps, who know what is where."""

HOST_MAC, POD_MAC = "02:00:00:00:00:02", "02:00:00:00:00:01"


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


@dataclass
class Datapath:
    """One node's programs and the maps they share."""

    programs: dict[str, bpf.Program]
    maps: dict[str, bpf.Map]
    btf: Any
    objects: list[Any] = field(default_factory=list)

    def add_endpoint(self, address: str, ifindex: int, *, identity: int = 1000, number: int = 1, flags: int = 0,
                     policy: int = 0, pod_mac: str = POD_MAC, host_mac: str = HOST_MAC) -> None:  # fmt: skip
        value = {
            "ifindex": ifindex, "identity": identity, "id": number, "flags": flags, "policy": policy,
            "mac": mac(pod_mac), "host_mac": mac(host_mac),
        }  # fmt: skip
        self.maps["endpoints"].update([parse(address)], [value])

    def add_ipcache(self, prefix: str, *, identity: int = 0, flags: int = IN_CLUSTER, node: str = "") -> None:
        text, _, length = prefix.partition("/")
        address = parse(text)
        bits = int(length or (32 if is_ipv4(address) else 128)) + (V4_OFFSET if is_ipv4(address) else 0)
        value = {"identity": identity, "flags": flags, "node_addr": parse(node) if node else ZERO}
        self.maps["ipcache"].update([{"prefixlen": bits, "addr": address}], [value])

    def clear(self, *names: str) -> None:
        for name in names:
            self.maps[name].clear()

    def drops(self) -> dict[tuple[str, int], int]:
        """Packets by (reason's name, direction), summed over the CPUs."""
        names = {number.value: number.name for number in bpf.btf.enum(self.btf, "gh_drop_reason")}
        keys, values = self.maps["drops"].items()
        return {
            (names[int(key["reason"])], int(key["direction"])): int(value["packets"].sum())
            for key, value in zip(keys, values, strict=True)
        }

    def rows(self, name: str) -> dict[bytes, Any]:
        """A map's content: raw key -> value record."""
        keys, values = self.maps[name].items()
        return {key.tobytes(): value for key, value in zip(keys, values, strict=True)}

    def run(self, program: str, packet: bytes, *, ifindex: int = 1, **context: int) -> bpf.TestRun:
        """One test run. The kernel takes the device from the current namespace, so ifindex must exist there."""
        return self.programs[program].test_run(packet, bpf.skb_context(ifindex=ifindex, **context))

    def close(self) -> None:
        for each in self.objects:
            each.close()


def config(**changes: Any) -> dict[str, Any]:
    """Constants of a node: masquerading, both families, as contracts and labs use them. Addresses as text."""
    made: dict[str, Any] = {
        "flags": NODE_MASQUERADE | NODE_IPV4 | NODE_IPV6,
        "device_ifindex": 2, "overlay_ifindex": 0, "host_ifindex": 3,
        "nat_port_min": 40_000, "nat_port_max": 60_000, "device_mtu_bytes": 1500,
        "node_ipv4": "172.30.0.11", "node_ipv6": "fd30::11",
        "router_ipv4": "10.244.1.1", "router_ipv6": "fd00:10:244:1::1",
    }  # fmt: skip
    made.update(changes)
    for name in ("node_ipv4", "node_ipv6", "router_ipv4", "router_ipv6"):
        made[name] = parse(made[name]) if made[name] else ZERO
    return made


@contextlib.contextmanager
def loaded(settings: Mapping[str, Any], sizes: Mapping[str, int] | None = None) -> Iterator[Datapath]:
    """Load all objects as an agent does: maps shared by name. Gone at the end."""
    bpf.mount_bpffs()
    pins = Path(tempfile.mkdtemp(prefix="b-datapath-", dir="/sys/fs/bpf"))
    datapath = None
    try:
        datapath = _load(settings, sizes or {}, pins)
        shutil.rmtree(pins)
        yield datapath
    finally:
        if datapath is not None:
            datapath.close()
        if pins.exists():
            shutil.rmtree(pins)


def _load(settings: Mapping[str, Any], sizes: Mapping[str, int], pins: Path) -> Datapath:
    made = Datapath({}, {}, None)
    for name in OBJECTS:
        spec = bpf.ObjectSpec.open(BUILD / f"{name}.bpf.o")
        spec.rodata["node_config"] = settings
        for map_name, entries in {**SIZES, **sizes}.items():
            if map_name in spec.maps:
                spec.maps[map_name].max_entries = entries
        obj = spec.load(pins=pins)
        obj.pin_maps(pins)
        made.objects.append(obj)
        made.programs.update(obj.programs)
        made.maps.update({key: value for key, value in obj.maps.items() if key not in made.maps})
        made.btf = made.btf or obj.btf
    return made


def has_root() -> bool:
    return os.geteuid() == 0
