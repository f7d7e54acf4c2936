"""What may differ between two runs of a lab, as patterns: addresses, names of the moment, times, counters.

One table serves nbval's sanitising file (``nbval_file``) and our own comparisons (``clean``). A pattern is as narrow as
it can be: what a lab claims must not be cleaned away.
"""

from __future__ import annotations

import re

# (name, pattern, replacement); applied in this order.
PATTERNS: tuple[tuple[str, str, str], ...] = (
    ("uuid", r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    ("mac", r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC"),
    ("date", r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z?", "TIME"),
    # Which node gets which range is decided by who asks first.
    ("block-v4", r"\b10\.244\.0\.\d+/29\b", "10.244.0.BLOCK/29"),
    ("block-v6", r"\bfd00:10:244::[0-9a-f]*/125\b", "fd00:10:244::BLOCK/125"),
    ("range-v4", r"\b10\.244\.\d+\.0/24\b", "10.244.NODE.0/24"),
    ("range-v6", r"\bfd00:10:244:(?:[0-9a-f]{1,4})?::?/64", "fd00:10:244:NODE::/64"),
    ("router-v4", r"\b10\.244\.\d+\.1\b", "10.244.NODE.1"),
    ("router-v6", r"\bfd00:10:244:(?:[0-9a-f]{1,4}:)?:1\b", "fd00:10:244:NODE::1"),
    ("pod-v4", r"\b10\.244\.\d+\.\d+\b", "10.244.NODE.POD"),
    ("pod-v6", r"\bfd00:10:244:(?:[0-9a-f]{1,4}:)?:[0-9a-f]+\b", "fd00:10:244:NODE::POD"),
    ("sandbox", r"\bgh-[a-z0-9-]+-pod-[0-9a-f]+\b", "gh-CLUSTER-pod-SANDBOX"),
    ("node-netns", r"\bgh-[a-z0-9-]+-(node\d+|world|fabric)\b", r"gh-CLUSTER-\1"),
    ("cluster", r"\bcluster [a-z0-9][a-z0-9-]*\b", "cluster NAME"),
    ("cluster-label", r"\bpolicy\.cluster=[a-z0-9-]+", "policy.cluster=NAME"),
    ("pinned", r"/sys/fs/bpf/glasshive/[a-z0-9-]+/", "/sys/fs/bpf/glasshive/CLUSTER/"),
    ("run", r"/run/glasshive/[a-z0-9-]+/", "/run/glasshive/CLUSTER/"),
    ("hex-id", r"\b[0-9a-f]{12,64}\b", "HEX"),
    ("host-device", r"\bgh(?:[0-9a-f]{1,4})\b(?:@\w+)?", "ghPOD"),
    ("peer", r"@if\d+\b", "@ifN"),
    ("host-ifindex", r"\b10\d{4}\b", "IFINDEX"),
    ("identity", r"\b(identity|identities)(['\"]?[ :=]+)\d+", r"\1\2N"),
    ("milliseconds", r"\b\d+(?:\.\d+)? ms\b", "T ms"),
    ("microseconds", r"\b\d+(?:\.\d+)? us\b", "T us"),
    ("seconds", r"\b\d+(?:\.\d+)? s(?:econds)?\b", "T s"),
    ("ping-time", r"time=\d+(?:\.\d+)?", "time=T"),
    ("rate", r"\b\d+(?:\.\d+)?(?:/s| per second)", "N/s"),
    ("pid", r"\b(pid)([ =:]+)\d+", r"\1\2N"),
    ("instructions", r"\b\d+ instructions\b", "N instructions"),
    ("address-of-object", r"\b0x[0-9a-f]{6,16}\b", "0xADDRESS"),
    ("ephemeral-port", r"\b(?:3[2-9]\d{3}|4\d{4}|5\d{4}|6[0-5]\d{3})\b", "PORT"),
    ("blanks", r"[ \t]{2,}", " "),
    ("rules", r"-{3,}", "---"),
    ("line-ends", r"[ \t]+(?=\n|$)", ""),
)
_COMPILED = tuple((re.compile(pattern), replacement) for _, pattern, replacement in PATTERNS)


def clean(text: str) -> str:
    """Replace what may differ."""
    for pattern, replacement in _COMPILED:
        text = pattern.sub(replacement, text)
    return text


def nbval_file() -> str:
    """Write the table as nbval's ``--nbval-sanitize-with`` file."""
    return "".join(f"[{name}]\nregex: {pattern}\nreplace: {replacement}\n\n" for name, pattern, replacement in PATTERNS)
