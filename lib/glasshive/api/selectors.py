"""Label and field selectors: text or LabelSelector object in, a predicate over string maps out.

A selector is a tuple of requirements that must all hold. Label syntax: ``a=b``, ``a==b``, ``a!=b``, ``a in (b,c)``,
``a notin (b,c)``, ``a``, ``!a``, ``a>5``, ``a<5``. Field syntax: ``path=value``, ``path==value``, ``path!=value`` with
``\\``, ``\\,`` and ``\\=`` escaped. An absent label satisfies ``!=`` and ``notin``; an absent field reads as "".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glasshive.errors import UsageError

_NAME = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9_.]{0,251}[a-zA-Z0-9])?/)?[a-zA-Z0-9](?:[-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?"
_VALUE = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?)?"
LABEL_KEY = re.compile(_NAME)
LABEL_VALUE = re.compile(_VALUE)
_REQUIREMENT = re.compile(
    rf"""\s*(?:
        !\s*(?P<absent>{_NAME})
      | (?P<key>{_NAME})\s*(?:
            (?P<op>==|!=|=|<|>)\s*(?P<value>[^,\s()]*)
          | \s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\)
        )?
    )\s*(?P<end>,|$)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one key. ``op`` is one of ``in notin exists absent gt lt``."""

    key: str
    op: str
    values: frozenset[str] = frozenset()

    def holds(self, values: Mapping[str, str]) -> bool:
        """Whether these labels (or fields) satisfy the condition."""
        have = values.get(self.key)
        match self.op:
            case "in":
                return have in self.values
            case "notin":
                return have not in self.values
            case "exists":
                return have is not None
            case "absent":
                return have is None
        try:
            number, limit = int(have or ""), int(next(iter(self.values)))
        except ValueError:
            return False
        return number > limit if self.op == "gt" else number < limit


Selector = tuple[Requirement, ...]


def matches(selector: Selector, values: Mapping[str, str]) -> bool:
    """Whether all requirements hold; an empty selector selects everything."""
    return all(requirement.holds(values) for requirement in selector)


def parse_labels(text: str) -> Selector:
    """Parse a label selector as written in a query; UsageError says what could not be read."""
    requirements = []
    at = 0
    while at < len(text):
        found = _REQUIREMENT.match(text, at)
        if found is None:
            raise UsageError(f"unable to parse requirement: found {text[at:]!r} in label selector {text!r}")
        requirements.append(_label_requirement(found, text))
        at = found.end()
        if found["end"] == "," and at == len(text):
            raise UsageError(f"unable to parse requirement: label selector {text!r} ends with a comma")
    return tuple(requirements)


def _label_requirement(found: re.Match[str], text: str) -> Requirement:
    if found["absent"]:
        return Requirement(found["absent"], "absent")
    key = found["key"]
    if found["set"]:
        values = frozenset(part.strip() for part in found["values"].split(","))
        _check_values(values, text)
        return Requirement(key, found["set"], values)
    op, value = found["op"], found["value"]
    if op is None:
        return Requirement(key, "exists")
    if op in "<>":
        if not re.fullmatch(r"-?[0-9]+", value):
            raise UsageError(f"unable to parse requirement: {value!r} is not an integer in label selector {text!r}")
        return Requirement(key, "gt" if op == ">" else "lt", frozenset([value]))
    _check_values(frozenset([value]), text)
    return Requirement(key, "notin" if op == "!=" else "in", frozenset([value]))


def _check_values(values: frozenset[str], text: str) -> None:
    for value in values:
        if not LABEL_VALUE.fullmatch(value):
            raise UsageError(f"unable to parse requirement: {value!r} is not a label value in selector {text!r}")


def parse_fields(text: str) -> Selector:
    """Parse a field selector; UsageError says what could not be read. Which paths exist is the caller's matter."""
    requirements = []
    for part in re.findall(r"(?:[^\\,]|\\.)+", text):
        found = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", part, re.DOTALL)
        if found is None:
            raise UsageError(f"invalid selector: {part!r}; can't understand field selector {text!r}")
        value = re.sub(r"\\([\\,=])", r"\1", found[3])
        requirements.append(Requirement(found[1].strip(), "notin" if found[2] == "!=" else "in", frozenset([value])))
    return tuple(requirements)


_OBJECT_OPS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}


def of_label_selector(selector: Mapping[str, Any] | None) -> Selector:
    """The requirements of a LabelSelector object (``matchLabels`` and ``matchExpressions``), already validated."""
    if not selector:
        return ()
    plain = [Requirement(k, "in", frozenset([v])) for k, v in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        values = frozenset(expression.get("values") or ())
        plain.append(Requirement(expression["key"], _OBJECT_OPS[expression["operator"]], values))
    return tuple(plain)


def to_text(selector: Selector) -> str:
    """The selector in query syntax (Scale status, table cells)."""
    parts = []
    for requirement in selector:
        values = sorted(requirement.values)
        match requirement.op:
            case "in" if len(values) == 1:
                parts.append(f"{requirement.key}={values[0]}")
            case "in" | "notin":
                parts.append(f"{requirement.key} {requirement.op} ({','.join(values)})")
            case "exists":
                parts.append(requirement.key)
            case "absent":
                parts.append(f"!{requirement.key}")
    return ",".join(parts)
