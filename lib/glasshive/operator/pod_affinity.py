"""Required pod affinity and anti-affinity: near to, or away from, pods with certain labels. Pure.

A *domain* is the set of nodes with the same value of a label, the term's topology key; a node without the label is in
no domain. Existing pods' own anti-affinity counts too: who wants to be alone is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from glasshive.api.selectors import matches, of_label_selector
from glasshive.kube.objects import Object, key_of, labels_of

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True)
class Neighbour:
    """A pod that has a node."""

    pod: Object
    node: str


def terms_of(pod: Object, kind: str) -> list[Object]:
    """Return the required terms of ``podAffinity`` or ``podAntiAffinity``."""
    return ((pod["spec"].get("affinity") or {}).get(kind) or {}).get(REQUIRED) or []


def has_terms(pod: Object) -> bool:
    """Tell whether a pod has required terms of either kind."""
    return bool(terms_of(pod, "podAffinity") or terms_of(pod, "podAntiAffinity"))


def rule(pod: Object, neighbours: Iterable[Neighbour], nodes: Mapping[str, Object]) -> Callable[[Object], str]:
    """Return a function that says why a node does not suit ``pod`` ("" if it does)."""
    others = list(neighbours)
    near = [(t, _domains(t, key_of(pod)[0], others, nodes)) for t in terms_of(pod, "podAffinity")]
    near = [(t, d) for t, d in near if d or not _selects(t, key_of(pod)[0], pod)]  # the first of its kind may start
    away = [(t, _domains(t, key_of(pod)[0], others, nodes)) for t in terms_of(pod, "podAntiAffinity")]
    away += [
        (term, _values(term, [other.node], nodes))
        for other in others
        for term in terms_of(other.pod, "podAntiAffinity")
        if _selects(term, key_of(other.pod)[0], pod)
    ]

    def refusal(node: Object) -> str:
        for term, domains in near:
            if labels_of(node).get(term["topologyKey"]) not in domains:
                return f"no pod that the required pod affinity asks for in its {term['topologyKey']}"
        for term, domains in away:
            if labels_of(node).get(term["topologyKey"]) in domains:
                return f"a pod in its {term['topologyKey']} that required pod anti-affinity keeps away from"
        return ""

    return refusal


def _selects(term: Object, home: str, pod: Object) -> bool:
    """Tell whether a term of a pod in namespace ``home`` means ``pod``. A namespace selector counts as all of them."""
    namespaces = term.get("namespaces") or ([] if term.get("namespaceSelector") is not None else [home])
    if namespaces and key_of(pod)[0] not in namespaces:
        return False
    selector = term.get("labelSelector")
    return selector is not None and matches(of_label_selector(selector), labels_of(pod))


def _domains(term: Object, home: str, others: list[Neighbour], nodes: Mapping[str, Object]) -> set[str]:
    return _values(term, [o.node for o in others if _selects(term, home, o.pod)], nodes)


def _values(term: Object, names: Iterable[str], nodes: Mapping[str, Object]) -> set[str]:
    found = (labels_of(nodes[n]).get(term["topologyKey"]) for n in names if n in nodes)
    return {value for value in found if value is not None}
