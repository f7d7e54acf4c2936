"""Kubernetes quantities: "250m", "1.5", "64Mi", "2G"."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def milli(quantity: str | float | None) -> int:
    """Return a quantity in thousandths, rounded up; 0 for none or for what cannot be read (the API checks it)."""
    if quantity is None:
        return 0
    text = str(quantity).strip()
    try:
        return _ceil(Decimal(text) * 1000)  # plain numbers, and exponents such as 1e3
    except InvalidOperation:
        pass
    number = text.rstrip("numkKMGTPEi")
    factor = _SUFFIXES.get(text[len(number) :])
    try:
        return _ceil(Decimal(number) * factor * 1000) if factor is not None else 0
    except InvalidOperation:
        return 0


def _ceil(value: Decimal) -> int:
    whole = int(value)
    return whole if whole >= value else whole + 1
