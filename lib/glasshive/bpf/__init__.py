"""The kernel library: the only door to bpf(2), libbpf and bcc.

The life of a program, one visible step each::

    ObjectSpec.open(path)  ->  spec.load()  ->  link.tcx(program, ...)  ->  link.pin(path)
    what the ELF says          loaded object    attached                    outlives this process

Names are imported when they are first used: ``import glasshive.bpf`` costs nothing, and
``glasshive.bpf.syscall`` needs neither numpy nor libbpf (the virtual machine lane counts on it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glasshive.bpf import btf, inspect, link, ring
    from glasshive.bpf.bpffs import mount_bpffs
    from glasshive.bpf.map import ANY, EXIST, NOEXIST, Map
    from glasshive.bpf.object import LoadedObject, ObjectSpec
    from glasshive.bpf.program import Program, TestRun, skb_context
    from glasshive.bpf.rcu import expedited_rcu, wait_for_programs
    from glasshive.bpf.uapi import AttachType, LinkType, MapType, ProgType

__all__ = [
    "ANY",
    "EXIST",
    "NOEXIST",
    "AttachType",
    "LinkType",
    "LoadedObject",
    "Map",
    "MapType",
    "ObjectSpec",
    "ProgType",
    "Program",
    "TestRun",
    "btf",
    "expedited_rcu",
    "inspect",
    "link",
    "mount_bpffs",
    "ring",
    "skb_context",
    "wait_for_programs",
]

_MODULES = ("btf", "inspect", "link", "ring")
_WHERE = {
    "ANY": "map",
    "EXIST": "map",
    "NOEXIST": "map",
    "AttachType": "uapi",
    "LinkType": "uapi",
    "LoadedObject": "object",
    "Map": "map",
    "MapType": "uapi",
    "ObjectSpec": "object",
    "ProgType": "uapi",
    "Program": "program",
    "TestRun": "program",
    "expedited_rcu": "rcu",
    "mount_bpffs": "bpffs",
    "skb_context": "program",
    "wait_for_programs": "rcu",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"glasshive.bpf.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'glasshive.bpf' has no attribute {name!r}")
    return getattr(import_module(f"glasshive.bpf.{_WHERE[name]}"), name)
