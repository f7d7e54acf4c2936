"""What a cluster, or one node, is told about policy, and how it is changed while it runs.

The cluster's file sets the start; the ConfigMap ``kube-system/cilium-config`` wins over it on all nodes
(``glasshive config set enable-policy always``), and ``PATCH /v1/config`` wins on one node until its agent ends
(``glasshive node config node1 PolicyEnforcement=always``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from glasshive.errors import UsageError
from glasshive.policy.resolve import Mode

CONFIG_NAMESPACE, CONFIG_NAME = "kube-system", "cilium-config"
MODE_KEY, AUDIT_KEY = "enable-policy", "policy-audit-mode"
_TRUTH = {"true": True, "false": False, "enabled": True, "disabled": False}
LOCALHOST = ("auto", "always", "policy")
CIDR_MATCH = ("", "nodes")


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """``audit``: what policy refuses passes, and is told."""

    mode: Mode = Mode.DEFAULT
    audit: bool = False


def mode_of(text: str) -> Mode:
    """The mode of its name; UsageError."""
    try:
        return Mode(text.lower())
    except ValueError:
        allowed = ", ".join(Mode)
        raise UsageError(f"{text!r} is no mode of policy enforcement", hint=f"use one of {allowed}") from None


def truth_of(text: str) -> bool:
    """Whether a text says yes; UsageError."""
    try:
        return _TRUTH[str(text).lower()]
    except KeyError:
        raise UsageError(f"{text!r} is neither Enabled nor Disabled") from None


def merged(base: PolicySettings, told: Mapping[str, str], mode_key: str, audit_key: str) -> PolicySettings:
    """Settings with what ``told`` says of them; UsageError names the key whose value makes no sense."""
    found = base
    try:
        if mode_key in told:
            found = replace(found, mode=mode_of(told[mode_key]))
    except UsageError as error:
        raise UsageError(f"{mode_key}: {error.message}", hint=error.hint) from None
    try:
        if audit_key in told:
            found = replace(found, audit=truth_of(told[audit_key]))
    except UsageError as error:
        raise UsageError(f"{audit_key}: {error.message}", hint=error.hint) from None
    return found
