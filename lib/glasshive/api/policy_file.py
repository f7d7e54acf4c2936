"""Policies in files, checked without a cluster: every finding with the line of the very field.

Other objects in the same files are of use too: Services, EndpointSlices and CiliumCIDRGroups that policies refer to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from glasshive.api import policies, policy_lookups
from glasshive.api.policy_lint import lint
from glasshive.api.policy_reading import DEFAULTS, ERROR, Options
from glasshive.api.policy_schema import below_path, near_names
from glasshive.model.policy import Finding, PolicyObject

Object = dict[str, Any]
_STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\[([^\]]*)\]")
_NEXT = re.compile(r"---(\s|$)")
_GROUPS = ("cilium.io", "networking.k8s.io", "policy.networking.k8s.io")
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOOL, _INT, _TIME = (f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "timestamp"))


class _Loader(_Base):
    """YAML as kubectl reads it: y and n are booleans, dates and 1:30 are text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the library's way
        first: [(tag, form) for tag, form in known if tag not in (_INT, _TIME)]
        for first, known in _Base.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_BOOL, re.compile(r"^[yYnN]$"), list("yYnN"))
_Loader.add_implicit_resolver(
    _INT, re.compile(r"^[-+]?(0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$"), list("-+0123456789")
)
_Loader.add_constructor(_BOOL, lambda loader, node: node.value.lower() in ("y", "yes", "true", "on"))  # noqa: ARG005


@dataclass(frozen=True)
class Document:
    """One object of a file, with the YAML nodes that it was made of."""

    obj: Object
    node: yaml.Node
    twice: Mapping[int, Sequence[yaml.Node]] = field(default_factory=dict)
    """Keys that a mapping (by its node's id) holds for a second time."""

    def line(self, path: str) -> int:
        """Line (from 1) of the field at ``path``, or of the nearest field above it that is there."""
        node, line = self.node, self.node.start_mark.line
        at = 0
        while at < len(path):
            step = _STEP.match(path, at)
            found = _below(node, step[1] or step[2]) if step else None
            if step is None or found is None:
                break
            node, line = found
            at = step.end()
        return int(line) + 1


@dataclass(frozen=True)
class Checked:
    """A policy read from a file, or (``policy`` None) a part of a file that could not be read."""

    file: str
    line: int
    policy: PolicyObject | None
    findings: tuple[Finding, ...]

    @property
    def valid(self) -> bool:
        """Whether there is no error."""
        return all(one.severity != ERROR for one in self.findings)


def check(texts: Sequence[tuple[str, str]], options: Options = DEFAULTS) -> list[Checked]:
    """Check the policies in ``(file, text)`` pairs, in order. Objects of other kinds are not judged."""
    loaded = [(file, *load(text)) for file, text in texts]
    lookups = policy_lookups.of_objects(doc.obj for _, docs, _ in loaded for doc in docs)
    found = []
    for file, documents, broken in loaded:
        found += [Checked(file, one.line, None, (one,)) for one in broken]
        for doc in documents:
            if policies.kind_of(doc.obj) is None:
                stray = _stray(doc)
                found += [Checked(file, stray.line, None, (stray,))] if stray else []
                continue
            parsed = policies.parse(doc.obj, lookups, options, file=file)
            policy = parsed.policy
            judged = [*_doubles(doc, doc.node, "", set()), *policy.findings, *lint(replace(policy, rules=parsed.sound))]
            lined = sorted((replace(one, line=one.line or doc.line(one.path)) for one in judged), key=_place)
            found.append(Checked(file, doc.line(""), policy, tuple(lined)))
    return found


def _place(one: Finding) -> tuple[int, bool]:
    return one.line, one.severity != ERROR


def load(text: str) -> tuple[list[Document], list[Finding]]:
    """The objects of a YAML (or JSON) text, those of lists one by one, and what could not be read.

    After a fault the next document is tried, so that one look finds the faults of all.
    """
    documents: list[Document] = []
    broken: list[Finding] = []
    done = -1
    while done < (last := text.count("\n")):
        fault = _load_until_fault(text, documents, broken, done)
        if fault is None:
            break
        broken.append(fault)
        after = max(done + 1, (fault.line or 1) - 1)
        done = next((at for at, line in enumerate(text.split("\n")) if at >= after and _NEXT.match(line)), last)
    return documents, broken


def _load_until_fault(text: str, documents: list[Document], broken: list[Finding], done: int) -> Finding | None:
    """Read the documents from line ``done`` (from 0; -1: all) on; the fault that ended it."""
    # Empty lines for what is done: marks keep their line numbers.
    loader = _Loader("\n" * max(done, 0) + "\n".join(text.split("\n")[max(done, 0) :]))
    try:
        while loader.check_node():
            node = loader.get_node()
            # Before values are made of the nodes, because that puts merged fields (<<) into them.
            twice: dict[int, list[yaml.Node]] = {}
            _find_twice(node, twice, set())
            value = loader.construct_document(node)
            if isinstance(value, dict):
                documents += _flatten(value, node, twice)
            elif value is not None:
                what = f"is not an object with apiVersion and kind: {value!r:.60}"
                broken.append(Finding(ERROR, "", what, node.start_mark.line + 1))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or str(error) or type(error).__name__
        return Finding(ERROR, "", f"is not YAML: {what}", mark.line + 1 if mark else max(done, 0) + 1)
    finally:
        loader.dispose()
    return None


def _flatten(value: Object, node: yaml.Node, twice: Mapping[int, Sequence[yaml.Node]]) -> Iterator[Document]:
    items = value.get("items")
    if str(value.get("kind")).endswith("List") and isinstance(items, list):
        below = _below(node, "items")
        nodes = below[0].value if below else ()
        for item, item_node in zip(items, nodes, strict=False):
            if isinstance(item, dict):
                yield Document(item, item_node, twice)
        return
    yield Document(value, node, twice)


def _below(node: yaml.Node, name: str) -> tuple[yaml.Node, int] | None:
    """The node of a field or list item, and its line (from 0)."""
    if isinstance(node, yaml.SequenceNode):
        if not name.isdecimal() or int(name) >= len(node.value):
            return None
        item = node.value[int(name)]
        return item, item.start_mark.line
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in reversed(node.value):  # fields that were merged in come first, and count less
        if key.value == name:
            return value, key.start_mark.line
    return None


def _find_twice(node: yaml.Node, twice: dict[int, list[yaml.Node]], visited: set[int]) -> None:
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _find_twice(item, twice, visited)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                twice.setdefault(id(node), []).append(key)
            seen.add(str(key.value))
            _find_twice(value, twice, visited)


def _doubles(doc: Document, node: yaml.Node, path: str, visited: set[int]) -> Iterator[Finding]:
    """Fields that are given twice: YAML would silently take the last. Anchors are looked into once."""
    if not doc.twice or id(node) in visited:
        return
    visited.add(id(node))
    for key in doc.twice.get(id(node), ()):
        yield Finding(ERROR, below_path(path, key.value), "is given twice", key.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            yield from _doubles(doc, item, f"{path}[{at}]", visited)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _doubles(doc, value, below_path(path, key.value), visited)


def _stray(doc: Document) -> Finding | None:
    """An object that was hardly meant to be passed over: a policy kind of another version, or nearly its name."""
    version, kind = str(doc.obj.get("apiVersion")), str(doc.obj.get("kind"))
    known = [(api_version, name) for api_version, name in policies.KINDS if name == kind]
    if known:
        versions = " or ".join(api_version for api_version, _ in known)
        return Finding(ERROR, "apiVersion", f"{kind} is {versions}, not {version}", doc.line("apiVersion"))
    if version.partition("/")[0] not in _GROUPS:
        return None
    near = near_names(kind, {name for _, name in policies.KINDS})
    if near and abs(len(near[0]) - len(kind)) <= 2:
        return Finding(ERROR, "kind", f"{kind} is no kind of policy: did you mean {near[0]}?", doc.line("kind"))
    return None


def report_lines(checked: Iterable[Checked]) -> Iterator[str]:
    """One line per finding: ``file:line: error: path: message``."""
    for one in checked:
        for finding in one.findings:
            place = f"{finding.path}: " if finding.path else ""
            yield f"{one.file}:{finding.line}: {finding.severity}: {place}{finding.message}"
