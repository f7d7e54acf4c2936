"""Which labels of a pod make its identity.

Labels that change with every roll-out or differ between replicas (template hashes, pod names, indices) are left out:
with them every replica would be an identity of its own, and policy entries would grow with pods instead of with kinds
of pods. The filter's default and the generated labels' names are those of the field (reference/features.md, 2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Self

from glasshive.errors import UsageError
from glasshive.model.labels import CLUSTER, NAMESPACE, NAMESPACE_LABELS, SERVICE_ACCOUNT, SOURCE_K8S, Label, Labels

_DEFAULTS = (
    "reserved:.*",
    NAMESPACE.replace(".", r"\."),
    NAMESPACE_LABELS.replace(".", r"\."),
    r"app\.kubernetes\.io",
    CLUSTER.replace(".", r"\."),
    SERVICE_ACCOUNT.replace(".", r"\."),
    r"!io\.kubernetes",
    r"!kubernetes\.io",
    r"!statefulset\.kubernetes\.io/pod-name",
    r"!apps\.kubernetes\.io/pod-index",
    r"!batch\.kubernetes\.io/job-completion-index",
    r"!batch\.kubernetes\.io/controller-uid",
    r"!.*beta\.kubernetes\.io",
    r"!k8s\.io",
    "!pod-template-generation",
    "!pod-template-hash",
    "!controller-revision-hash",
    "!controller-uid",
    "!annotation.*",
    "!etcd_node",
    r"!topology\.kubernetes\.io",
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One entry of the filter: ``[source:][!]expression``, matched at the beginning of a label's key."""

    source: str
    ignore: bool
    expression: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Pattern of its text; UsageError for one without or with a broken expression."""
        source, colon, rest = text.partition(":")
        if not colon:
            source, rest = "", text
        body = rest.removeprefix("!")
        try:
            if not body:
                raise UsageError(f"labels: {text!r} names no label", hint="write [source:][!]expression")
            return cls(source, rest != body, re.compile(body))
        except re.error as error:
            raise UsageError(f"labels: {text!r} is no regular expression: {error}") from None

    def length(self, source: str, key: str) -> int:
        """How many characters of the key it matches; 0: none."""
        if self.source and self.source != source:
            return 0
        found = self.expression.match(key)
        return found.end() if found else 0


class LabelFilter:
    """Decides which labels count.

    Of the patterns that match a label, the longest match of an including one stands against the shortest of an ignoring
    one; the longer wins. Nothing matches: the label counts, unless the user has given an including pattern, which means
    "only these".
    """

    def __init__(self, given: Iterable[str] = ()) -> None:
        own = [Pattern.parse(text) for text in given]
        self._patterns = [*(Pattern.parse(text) for text in _DEFAULTS), *own]
        self._only_included = any(not one.ignore for one in own)
        self._known: dict[tuple[str, str], bool] = {}

    def relevant(self, key: str, source: str = SOURCE_K8S) -> bool:
        """Whether a label counts for identity."""
        known = self._known.get((source, key))
        if known is None:
            known = self._known[source, key] = self._judge(source, key)
        return known

    def _judge(self, source: str, key: str) -> bool:
        included = ignored = 0
        for one in self._patterns:
            length = one.length(source, key)
            if not length:
                continue
            if one.ignore:
                ignored = min(ignored or length, length)
            else:
                included = max(included, length)
        return (not self._only_included and not ignored) or included > ignored


@cache
def usual_filter() -> LabelFilter:
    """The filter of a cluster that has not configured one."""
    return LabelFilter()


def relevant(key: str) -> bool:
    """Whether a label key of a pod or namespace counts for identity, unless configured otherwise."""
    return usual_filter().relevant(key)


def security_labels(
    pod_labels: Mapping[str, str],
    namespace: str,
    *,
    namespace_labels: Mapping[str, str] | None = None,
    service_account: str = "default",
    cluster: str = "default",
    chosen: LabelFilter | None = None,
) -> Labels:
    """The labels a pod's identity is given for: its own that count, its namespace's, and where it belongs."""
    counts = (chosen or usual_filter()).relevant
    found = [Label(SOURCE_K8S, key, value) for key, value in pod_labels.items()]
    found += [Label(SOURCE_K8S, f"{NAMESPACE_LABELS}.{key}", value) for key, value in (namespace_labels or {}).items()]
    found += [
        Label(SOURCE_K8S, NAMESPACE, namespace),
        Label(SOURCE_K8S, SERVICE_ACCOUNT, service_account or "default"),
        Label(SOURCE_K8S, CLUSTER, cluster),
    ]
    return Labels.of(one for one in found if counts(one.key))
