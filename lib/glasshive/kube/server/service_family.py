"""Which address families a Service has, and which of its addresses it keeps: pure, before anything is allocated.

The rules between versions of a Service, as upstream has them: the first address and family never change; a second one
is gained by asking for dual stack and lost by asking for ``SingleStack``, not by leaving it out of a list; a Service
that was of type ExternalName starts anew.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from .status import FieldError, bad_value, duplicate, unsupported

Object = dict[str, Any]
NONE = "None"
_SINGLE, _PREFER, _REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
_FAMILIES = {4: "IPv4", 6: "IPv6"}
_ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
_ONCE = "may not change once set"


def settle(spec: Object, before: Object | None, available: Sequence[str]) -> list[FieldError]:
    """Set ``ipFamilies``, ``ipFamilyPolicy`` and the addresses that are known already; faults if that cannot be.

    ``available`` are the cluster's families, the primary one first. What is then missing in ``clusterIPs`` (a family
    without an address at the same place) is to be allocated, unless it is ``None``.
    """
    had = before if before and before.get("type") != "ExternalName" else {}
    if spec.get("type") == "ExternalName":
        return _without_addresses(spec, had)
    ips = _addresses(spec, had)
    faults = _address_faults(spec, ips, had)
    if faults:
        return faults
    families = list(spec.get("ipFamilies") or had.get("ipFamilies") or [])
    policy = spec.get("ipFamilyPolicy") or had.get("ipFamilyPolicy")
    if policy == _SINGLE and had.get("ipFamilyPolicy") not in {None, _SINGLE}:
        # Going back to one family: what is still listed from before is let go.
        ips = ips[:1] if ips == had.get("clusterIPs") else ips
        families = families[:1] if families == had.get("ipFamilies") else families
    faults = _list_faults(families, ips, policy, had, available)
    if faults:
        return faults
    headless = ips[:1] == [NONE]
    if not families and not headless:
        families = [_family(text) for text in ips]
        if len(set(families)) < len(families):
            return [bad_value("spec.clusterIPs", ips, "must be of one address family each")]
    if not policy:
        without_selector = headless and not spec.get("selector") and len(available) > 1
        policy = _REQUIRE if len(families) > 1 or without_selector else _SINGLE
    families = families or list(available[:1])
    if policy != _SINGLE:
        families += [family for family in available if family not in families]
    spec |= {"ipFamilies": families, "ipFamilyPolicy": policy, "clusterIPs": ips}
    return _match_faults(families, ips, policy)


def _without_addresses(spec: Object, had: Object) -> list[FieldError]:
    """An ExternalName has no addresses; those that a Service had before it became one are dropped."""
    for name in _ADDRESS_FIELDS:
        given = spec.pop(name, None)
        if given and name in {"clusterIP", "clusterIPs"} and given not in ("", NONE, [NONE], had.get(name)):
            return [bad_value(f"spec.{name}", given, "may not be set for ExternalName services")]
    spec.pop("internalTrafficPolicy", None)
    return []


def _addresses(spec: Object, had: Object) -> list[str]:
    """``clusterIP`` and ``clusterIPs`` as one list; what an update leaves out is what there was."""
    one, many = spec.get("clusterIP") or "", [ip for ip in spec.get("clusterIPs") or [] if ip]
    old: list[str] = had.get("clusterIPs") or []
    if not one and not many:
        return list(old)
    if not many:
        return list(old) if old[:1] == [one] else [one]
    if one and many == old and one != many[0]:
        return [one, *many[1:]]
    return many


def _address_faults(spec: Object, ips: list[str], had: Object) -> list[FieldError]:
    one = spec.get("clusterIP") or ""
    if one and ips and one != ips[0]:
        return [bad_value("spec.clusterIPs", ips, "first value must match `clusterIP`")]
    if NONE in ips and ips != [NONE]:
        return [bad_value("spec.clusterIPs", ips, "'None' must be the first and only value")]
    faults = []
    for at, text in enumerate(ips):
        try:
            if text != NONE:
                ipaddress.ip_address(text)
        except ValueError:
            faults.append(bad_value(f"spec.clusterIPs[{at}]", text, "must be an IP address or None"))
    if len(ips) > 2:
        faults.append(bad_value("spec.clusterIPs", ips, "may only hold up to 2 values"))
    old = had.get("clusterIPs") or []
    for at, (now, then) in enumerate(zip(ips, old, strict=False)):
        if now != then and not faults:
            faults.append(bad_value(f"spec.clusterIPs[{at}]", now, _ONCE))
    return faults


def _list_faults(
    families: list[str], ips: list[str], policy: str | None, had: Object, available: Sequence[str]
) -> list[FieldError]:
    faults = [
        unsupported(f"spec.ipFamilies[{at}]", text, tuple(_FAMILIES.values()))
        for at, text in enumerate(families)
        if text not in _FAMILIES.values()
    ]
    if len(set(families)) < len(families):
        faults.append(duplicate("spec.ipFamilies", families[-1]))
    known = [_family(text) for text in ips if text != NONE]
    if faults:
        return faults
    if policy == _SINGLE and max(len(families), len(ips)) > 1:
        text = f"must be {_REQUIRE} or {_PREFER} when there is more than one address family"
        return [bad_value("spec.ipFamilyPolicy", policy, text)]
    if any(family not in available for family in (*families, *known)) or (policy == _REQUIRE and len(available) < 2):
        return [bad_value("spec.ipFamilies", families or known, f"this cluster has only {', '.join(available)}")]
    old = had.get("ipFamilies") or []
    if families[:1] != old[:1] and old:
        return [bad_value("spec.ipFamilies[0]", families[0], _ONCE)]
    if policy != _SINGLE and (len(families) < len(old) or len(ips) < len(had.get("clusterIPs") or [])):
        return [bad_value("spec.ipFamilyPolicy", policy, f"must be '{_SINGLE}' to release the second family")]
    return []


def _match_faults(families: list[str], ips: list[str], policy: str) -> list[FieldError]:
    """Each address must be of the family at its place."""
    faults = []
    for at, text in enumerate(ips):
        if text == NONE:
            continue
        if at >= len(families):
            return [bad_value("spec.ipFamilyPolicy", policy, "must be dual stack when there are two addresses")]
        if _family(text) != families[at]:
            why = f"expected an {families[at]} value as indicated by `ipFamilies[{at}]`"
            faults.append(bad_value(f"spec.clusterIPs[{at}]", text, why))
    return faults


def _family(text: str) -> str:
    return _FAMILIES[ipaddress.ip_address(text).version]
