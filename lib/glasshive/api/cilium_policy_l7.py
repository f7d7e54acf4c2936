"""The parts of Cilium's policies that a proxy would enforce: checked as upstream checks them, named in ``needs``.

They are accepted, so that manifests apply unchanged; what they were to let through stays refused until a proxy exists,
and the object's status says so (``policy_status``).
"""

from __future__ import annotations

import re
from typing import Any

from glasshive.api.policy_reading import Reading

Object = dict[str, Any]
_KINDS = ("http", "kafka", "dns", "l7proto")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(:.*)?", re.DOTALL)
_FQDN = re.compile(r"([-a-zA-Z0-9_*]+[.]?)+")
_MAX_FQDN = 255


def needs_of(group: Object, path: str, reading: Reading, *, egress: bool, host: bool) -> frozenset[str]:
    """Check the L7 parts of one element of ``toPorts``; say what it would take to enforce them."""
    needs = {}
    rules = {name: value for name, value in (group.get("rules") or {}).items() if value is not None}
    listener, names, terminating = group.get("listener"), group.get("serverNames"), group.get("terminatingTLS")
    if rules:
        needs["l7"] = "rules"
        _check_rules(rules, group.get("ports") or (), f"{path}.rules", reading, egress=egress)
        if host and not (egress and "dns" in rules):
            where = "egress (only DNS rules are)" if egress else "ingress"
            reading.error(f"{path}.rules", f"L7 policy is not supported on host {where} yet")
    if names:
        needs["sni"] = "serverNames"
        if rules and terminating is None:
            reading.error(f"{path}.serverNames", "ServerNames are not allowed with L7 rules without TLS termination")
        if "" in names:
            reading.error(f"{path}.serverNames", "an empty server name is not allowed")
    if listener is not None:
        needs["listener"] = "listener"
        if not egress:
            reading.error(f"{path}.listener", f"Listener is not allowed on ingress ({listener['name']})")
        if rules:
            reading.error(f"{path}.listener", f"Listener is not allowed with L7 rules ({listener['name']})")
    if terminating is not None or group.get("originatingTLS") is not None:
        needs["tls"] = "terminatingTLS" if terminating is not None else "originatingTLS"
    for need, member in needs.items():
        reading.lacks(f"{path}.{member}", need)
    return frozenset(needs)


def _check_rules(rules: Object, ports: Any, path: str, reading: Reading, *, egress: bool) -> None:
    kinds = [name for name in _KINDS if rules.get(name)] or [name for name in _KINDS if name in rules]
    if len(kinds) > 1:
        reading.error(path, f"multiple L7 protocol rule types specified in single rule: {' and '.join(kinds)}")
    if "l7" in rules and not rules.get("l7proto"):
        reading.error(f"{path}.l7", "'l7' may only be specified when a 'l7proto' is also specified")
    dns = "dns" in rules
    if dns and not egress:
        reading.error(f"{path}.dns", "DNS rules are not allowed on ingress")
    if dns and not ports:
        reading.error(f"{path}.dns", "port 53 must be specified for DNS rules")
    for at, port in enumerate(ports):
        here = f"{path.removesuffix('.rules')}.ports[{at}]"
        protocol = (port.get("protocol") or "ANY").upper()
        if port["port"] == "0":
            reading.error(f"{here}.port", "L7 rules can not be used when a port is 0")
        if dns and (port.get("endPort") or 0) > (int(port["port"]) if port["port"].isdecimal() else 0):
            reading.error(f"{here}.endPort", "DNS rules do not support port ranges")
        allowed = ("TCP", "UDP", "ANY") if dns else ("TCP",)
        if protocol not in allowed:
            only = "L7 rules can only apply to TCP" if not dns else "DNS rules can only apply to TCP, UDP or ANY"
            reading.error(f"{here}.protocol", f"{only} (not {protocol}) except for DNS rules" if not dns else only)
    for at, one in enumerate(rules.get("http") or ()):
        _check_http(one, f"{path}.http[{at}]", reading)
    for at, one in enumerate(rules.get("dns") or ()):
        check_fqdn(one, f"{path}.dns[{at}]", reading)
    for at, one in enumerate(rules.get("kafka") or ()):
        if one.get("role") and one.get("apiKey"):
            reading.error(f"{path}.kafka[{at}]", "role and apiKey may not be set together")


def _check_http(rule: Object, path: str, reading: Reading) -> None:
    for name in ("path", "method", "host"):
        try:
            re.compile(rule.get(name) or "")
        except re.error as error:
            reading.error(f"{path}.{name}", f"{rule[name]!r} is not a regular expression: {error}")
    for at, header in enumerate(rule.get("headers") or ()):
        if not _HEADER.fullmatch(header):
            reading.error(f"{path}.headers[{at}]", f'{header!r} is not "Name" or "Name: value"')


def check_fqdn(one: Object, path: str, reading: Reading) -> None:
    """Check a selector of names: matchName or matchPattern, not both."""
    name, pattern = one.get("matchName") or "", one.get("matchPattern") or ""
    if bool(name) == bool(pattern):
        reading.error(path, "needs either matchName or matchPattern" + (", not both" if name else ""))
    for field, text in (("matchName", name), ("matchPattern", pattern)):
        if text and (len(text) > _MAX_FQDN or not _FQDN.fullmatch(text)):
            reading.error(
                f"{path}.{field}", f"{text!r} is not a DNS name (at most {_MAX_FQDN} letters, digits, - and _)"
            )
        elif field == "matchName" and "*" in text:
            reading.error(f"{path}.{field}", f"{text!r} has a wildcard: write it as matchPattern")
