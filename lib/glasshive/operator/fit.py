"""May this pod run on this node, and how good would that be? Pure; the scheduler and the DaemonSet controller ask.

A refusal is a short text that names the node's side of the matter, because it is what a learner reads in the
FailedScheduling event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from glasshive.kube.objects import Object, is_terminating, labels_of
from glasshive.operator.placements import Demand, NodeLoad
from glasshive.operator.pods import condition
from glasshive.operator.quantity import milli
from glasshive.operator.taints import NOT_READY, covers

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
SHOWN_NODES = 5


def refusal(pod: Object, demand: Demand, node: Object, load: NodeLoad) -> str:
    """Return why ``pod`` cannot run on ``node`` now, "" if it can."""
    return selection_refusal(pod, node) or readiness_refusal(pod, node) or room_refusal(demand, node, load)


def selection_refusal(pod: Object, node: Object, effects: Collection[str] = ("NoSchedule", "NoExecute")) -> str:
    """Return what in the pod's own choice (name, selector, affinity) or the node's taints stands against it.

    ``effects`` are those of taints that count; a pod that runs already minds only NoExecute.
    """
    spec, labels = pod["spec"], labels_of(node)
    if spec.get("nodeName") and spec["nodeName"] != node["metadata"]["name"]:
        return "not the node that spec.nodeName names"
    for key, value in (spec.get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            return f"node selector {key}={value} does not match"
    if not affinity_matches(pod, node):
        return "required node affinity does not match"
    taint = untolerated(pod, node, effects)
    if taint is not None:
        return f"untolerated taint {taint_text(taint)}"
    return ""


def readiness_refusal(pod: Object, node: Object) -> str:
    """Return why the node takes no pods at present: cordoned, or not ready."""
    spec = node.get("spec") or {}
    if is_terminating(node):
        return "being deleted"
    if spec.get("unschedulable") and not tolerates(pod, {"key": UNSCHEDULABLE, "effect": "NoSchedule"}):
        return "cordoned (spec.unschedulable)"
    ready = condition(node, "Ready")
    if (ready is None or ready.get("status") != "True") and not tolerates(
        pod, {"key": NOT_READY, "effect": "NoSchedule"}
    ):
        why = (ready or {}).get("message") or (ready or {}).get("reason") or "its agent has not reported yet"
        return f"not ready: {why}"
    return ""


def room_refusal(demand: Demand, node: Object, load: NodeLoad) -> str:
    """Return which resource of the node is used up."""
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    if "pods" in allocatable and len(load.pods) >= milli(allocatable["pods"]) // 1000:
        return f"maximum of {allocatable['pods']} pods reached"
    for name, amount in demand.requests:
        have = allocatable.get(name)
        if have is None and "." not in name and "/" not in name:
            continue  # the node does not count this one
        if amount and load.requests[name] + amount > milli(have):
            return f"too little {name} left"
    for protocol, port in demand.host_ports:
        if load.host_ports[protocol, port] > 0:
            return f"host port {port}/{protocol} in use"
    return ""


def choose(
    pod: Object,
    demand: Demand,
    nodes: Iterable[tuple[Object, NodeLoad]],
    further: Callable[[Object], str] | None = None,
) -> tuple[str, dict[str, str]]:
    """Return the best node's name ("" if none fits) and the refusals by node name; ``further`` may refuse nodes too.

    Best is the node with the highest preferred affinity weight, then the fewest pods of the same group, then the fewest
    pods.
    """
    refusals: dict[str, str] = {}
    best: tuple[tuple[int, int, int, str], str] | None = None
    for node, load in nodes:
        name = node["metadata"]["name"]
        why = refusal(pod, demand, node, load) or (further(node) if further is not None else "")
        if why:
            refusals[name] = why
            continue
        avoided = 1 if untolerated(pod, node, {"PreferNoSchedule"}) else 0
        weight = preferred_weight(pod, node) - 100 * avoided
        rank = (-weight, load.groups[demand.group], len(load.pods), name)
        if best is None or rank < best[0]:
            best = (rank, name)
    return (best[1] if best else ""), refusals


def explain(refusals: dict[str, str]) -> str:
    """Return the text of a FailedScheduling event: reasons with the nodes they apply to."""
    if not refusals:
        return "0/0 nodes are available: the cluster has no nodes"
    by_reason: dict[str, list[str]] = {}
    for name, why in sorted(refusals.items()):
        by_reason.setdefault(why, []).append(name)
    parts = [f"{_nodes(names)}: {why}" for why, names in by_reason.items()]
    return f"0/{len(refusals)} nodes are available: {'; '.join(parts)}"


def _nodes(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_NODES])
    return shown if len(names) <= SHOWN_NODES else f"{shown} and {len(names) - SHOWN_NODES} more"


# -- taints and tolerations


def untolerated(pod: Object, node: Object, effects: Collection[str]) -> Object | None:
    """Return the first taint with one of ``effects`` that the pod does not tolerate."""
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint.get("effect") in effects and not tolerates(pod, taint):
            return taint  # type: ignore[no-any-return]
    return None


def tolerates(pod: Object, taint: Object) -> bool:
    """Tell whether one of the pod's tolerations covers ``taint``."""
    return any(covers(toleration, taint) for toleration in pod["spec"].get("tolerations") or ())


def taint_text(taint: Object) -> str:
    """Return a taint as kubectl writes it: key=value:effect."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"


# -- node affinity


def affinity_matches(pod: Object, node: Object) -> bool:
    """Tell whether required node affinity (any of its terms) admits the node."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def preferred_weight(pod: Object, node: Object) -> int:
    """Return the sum of the weights of preferred node affinity terms that the node matches."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    wishes = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return sum(int(w.get("weight") or 0) for w in wishes if _term_matches(w.get("preference") or {}, node))


def _term_matches(term: Object, node: Object) -> bool:
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False  # an empty term selects nothing
    names = {"metadata.name": node["metadata"]["name"]}
    return all(_expression(e, labels_of(node)) for e in expressions) and all(_expression(e, names) for e in fields)


def _expression(expression: Object, values: dict[str, str]) -> bool:
    have = values.get(expression["key"])
    wanted = expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return have in wanted
        case "NotIn":
            return have not in wanted
        case "Exists":
            return have is not None
        case "DoesNotExist":
            return have is None
        case "Gt" | "Lt" as operator:
            try:
                number, limit = int(have or ""), int(wanted[0])
            except (ValueError, IndexError):
                return False
            return number > limit if operator == "Gt" else number < limit
    return False
