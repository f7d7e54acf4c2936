"""CIDRs of policies -> prefixes and peers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from glasshive.api.policy_reading import Reading
from glasshive.errors import UsageError
from glasshive.model.address import Prefix, covers
from glasshive.model.policy import CidrPeer


@lru_cache(maxsize=1 << 14)
def _parse(text: str) -> Prefix | str:
    """The prefix, or what is wrong with the text. Masks in dotted form and zones are no CIDRs (RFC 4632, RFC 4291)."""
    address, slash, length = text.partition("/")
    if (slash and not length.isdecimal()) or "%" in text:
        return "is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32"
    if ":" in address and "." in address:
        return "is an IPv4 address in IPv6 form: write it as IPv4"
    try:
        return Prefix.parse(text)
    except UsageError:
        return "is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32"


def read_prefix(text: str, path: str, reading: Reading, *, slash: bool = False) -> Prefix | None:
    """The prefix of a CIDR, None after an error. ``slash``: a single address has to be written with its length."""
    found = _parse(text) if text else "an IP must be specified"
    if isinstance(found, str):
        reading.error(path, f"unable to parse CIDR: {text!r} {found}")
        return None
    if "/" not in text:
        if slash:
            reading.error(path, f"unable to parse CIDR: {text!r} has no length, write {found}")
            return None
        return found
    if _has_host_bits(text):
        reading.warn(path, f"{text} has bits beyond its length: it means {found}")
    return found


@lru_cache(maxsize=1 << 14)
def _has_host_bits(text: str) -> bool:
    whole, address = _parse(text), _parse(text.partition("/")[0])
    return isinstance(whole, Prefix) and isinstance(address, Prefix) and whole.address != address.address


def read_excepts(texts: Sequence[str], inside: Prefix | None, path: str, reading: Reading) -> tuple[Prefix, ...]:
    """Prefixes that are left out of ``inside``; an error for one that does not lie in it."""
    found = []
    for at, text in enumerate(texts):
        prefix = read_prefix(text, f"{path}[{at}]", reading, slash=True)
        if prefix is None:
            continue
        if inside is not None and not contains(inside, prefix):
            reading.error(f"{path}[{at}]", f"allow CIDR prefix {inside} does not contain exclude CIDR prefix {prefix}")
        found.append(prefix)
    return tuple(found)


def contains(outer: Prefix, inner: Prefix) -> bool:
    """Whether ``inner`` lies in ``outer``. IPv4 and IPv6 never contain each other, ``::/0`` neither."""
    return outer.is_ipv4 == inner.is_ipv4 and covers(outer, inner)


def peer(prefix: Prefix, excepts: Iterable[Prefix] = ()) -> CidrPeer | None:
    """The peer of a prefix; excepts outside of it do nothing, and None says that nothing of it is left."""
    inside = tuple(sorted({one for one in excepts if contains(prefix, one)}))
    if any(contains(one, prefix) for one in excepts):
        return None
    return CidrPeer(prefix, inside)
