"""Lab 10, last task: what the administrator says first, and what holds where nobody has said anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import flow, invariant, probe
from glasshive.lab.checks.outcome import all_of
from glasshive.lab.checks.probe import Probe
from glasshive.lab.doors import cilium_policy, clusterwide, labelled, ports, unchanged
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

Object = dict[str, Any]
_GROUP = "policy.networking.k8s.io"


def draw(seed: Draw) -> dict[str, Any]:
    """A zone with a server that developers have guarded and a pod that they have not; three who ask."""
    zone = seed.name()
    names = [seed.name() for _ in range(3)]
    return {
        "zone": zone, "server": f"{zone}-app", "idle": f"{zone}-idle", "policy": f"{zone}-app",
        "dev": f"{names[0]}-dev", "monitor": f"{names[1]}-monitor", "scanner": f"{names[2]}-scanner",
    }  # fmt: skip


def _developers(given: Given) -> Object:
    """Theirs lets dev and scanner in, and refuses the monitor."""
    rule = {"fromEndpoints": [labelled(app=given[one]) for one in ("dev", "scanner")], "toPorts": ports(8080)}
    deny = {"fromEndpoints": [labelled(app=given["monitor"])]}
    return cilium_policy(given["policy"], {"app": given["server"]}, ingress=[rule], ingressDeny=[deny])


def setup(lab: Lab, given: Given) -> None:
    """Two pods in the zone, three outside it, and the developers' policy."""
    lab.pod(given["server"], node="node1", labels={"zone": given["zone"]})
    lab.pod(given["idle"], node="node2", labels={"zone": given["zone"]})
    for name, node in (("dev", "node3"), ("monitor", "node2"), ("scanner", "node1")):
        lab.pod(given[name], node=node)
    lab.policy(_developers(given))


def _to(given: Given, source: str, target: str, port: int = 8080) -> Probe:
    return Probe(given[source], given[target], port, "http" if port == 8080 else "tcp")


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """The developers' word counts: the scanner is in, the monitor is not, and the other pod is open."""
    ways = [_to(given, "dev", "server"), _to(given, "scanner", "server"), _to(given, "dev", "idle")]
    return all_of(
        lambda: probe.allowed(reader, ways),
        lambda: flow.judged_as(reader, [_to(given, "monitor", "server", 9000)], "deny-rule"),
    )


def closed(reader: ClusterReader, given: Given) -> CheckResult:
    """The scanner is out everywhere, the monitor in at 9000 everywhere, and the unguarded pod is guarded."""
    shut = [
        _to(given, "scanner", "server"),
        _to(given, "scanner", "idle"),
        _to(given, "scanner", "idle", 9000),
        _to(given, "dev", "idle"),
        _to(given, "monitor", "idle"),
        _to(given, "monitor", "server"),
    ]
    ways = [_to(given, "monitor", "server", 9000), _to(given, "monitor", "idle", 9000), _to(given, "dev", "server")]
    why = "the tier Admin is asked before every policy of a namespace, the tier Baseline after them"
    return probe.denied(reader, shut, otherwise=ways, why=why, read="the section about tiers")


def others(reader: ClusterReader, given: Given) -> CheckResult:
    """What the zone sends, and pods outside it."""
    ways = [
        _to(given, "server", "monitor"),
        _to(given, "idle", "scanner"),
        _to(given, "scanner", "dev"),
        _to(given, "dev", "monitor"),
    ]
    return invariant.still_answered(reader, ways, why="only what comes in at the pods of the zone was to change")


def refused(reader: ClusterReader, given: Given) -> CheckResult:
    """The scanner is refused by a rule where the developers let it in."""
    return flow.judged_as(reader, [_to(given, "scanner", "server")], "deny-rule")


def kept(reader: ClusterReader, given: Given) -> CheckResult:
    """The developers' policy is as it was."""
    return unchanged(reader, _developers(given))


def _pods(lab: Lab, **labels: str) -> Object:
    """Pods of the lab's namespace with these labels, as these kinds name them."""
    home = labelled(**{"kubernetes.io/metadata.name": lab.namespace})
    return {"pods": {"namespaceSelector": home, "podSelector": labelled(**labels)}}


def _everybody() -> Object:
    return {"namespaces": {}}


def _tier(lab: Lab, given: Given, name: str, rules: list[Object], *, subject: Object | None = None) -> Object:
    """A ClusterNetworkPolicy of the tier that is its name."""
    spec = {"tier": name, "priority": 10, "subject": subject or _pods(lab, zone=given["zone"]), "ingress": rules}
    kind = {"apiVersion": f"{_GROUP}/v1alpha2", "kind": "ClusterNetworkPolicy"}
    return {**kind, "metadata": {"name": name.lower()}, "spec": spec}


def _admin_rules(lab: Lab, given: Given) -> list[Object]:
    port = {"tcp": {"destinationPort": {"number": 9000}}}
    return [
        {"action": "Deny", "from": [_pods(lab, app=given["scanner"])]},
        {"action": "Accept", "from": [_pods(lab, app=given["monitor"])], "protocols": [port]},
    ]


_LAST: list[Object] = [{"action": "Deny", "from": [{"namespaces": {}}]}]


def two_tiers(lab: Lab, given: Given) -> None:
    """One policy of each tier: Admin for the scanner and the monitor, Baseline for what nobody guards."""
    lab.policy(_tier(lab, given, "Admin", _admin_rules(lab, given)), _tier(lab, given, "Baseline", _LAST))


def as_it_was_before(lab: Lab, given: Given) -> None:
    """The same in the older form: AdminNetworkPolicy, and the one BaselineAdminNetworkPolicy, called default."""
    subject = _pods(lab, zone=given["zone"])
    port = {"portNumber": {"protocol": "TCP", "port": 9000}}
    rules = [
        {"name": "scanner", "action": "Deny", "from": [_pods(lab, app=given["scanner"])]},
        {"name": "monitor", "action": "Allow", "from": [_pods(lab, app=given["monitor"])], "ports": [port]},
    ]
    api = {"apiVersion": f"{_GROUP}/v1alpha1"}
    admin = {"priority": 10, "subject": subject, "ingress": rules}
    last = {"subject": subject, "ingress": [{"name": "rest", **_LAST[0]}]}
    lab.policy(
        {**api, "kind": "AdminNetworkPolicy", "metadata": {"name": "admin"}, "spec": admin},
        {**api, "kind": "BaselineAdminNetworkPolicy", "metadata": {"name": "default"}, "spec": last},
    )


def by_cilium(lab: Lab, given: Given) -> None:
    """A CiliumClusterwideNetworkPolicy: the developers' deny rule still wins over what it allows."""
    rule = {"fromEndpoints": [labelled(app=given["monitor"])], "toPorts": ports(9000)}
    deny = {"fromEndpoints": [labelled(app=given["scanner"])]}
    spec = {"endpointSelector": labelled(zone=given["zone"]), "ingress": [rule], "ingressDeny": [deny]}
    lab.policy(clusterwide("admin", spec))


def no_baseline(lab: Lab, given: Given) -> None:
    """What nobody guards stays open."""
    lab.policy(_tier(lab, given, "Admin", _admin_rules(lab, given)))


def denied_first(lab: Lab, given: Given) -> None:
    """The last word was said first: in the tier Admin nobody gets past it."""
    lab.policy(_tier(lab, given, "Admin", [*_admin_rules(lab, given), *_LAST]))


def everywhere(lab: Lab, given: Given) -> None:
    """The subject is every namespace, not the zone."""
    rules = _admin_rules(lab, given)
    lab.policy(
        _tier(lab, given, "Admin", rules, subject=_everybody()),
        _tier(lab, given, "Baseline", _LAST),
    )


def overruled(lab: Lab, given: Given) -> None:
    """The developers' policy was rewritten."""
    two_tiers(lab, given)
    rule = {"fromEndpoints": [labelled(app=given["dev"])], "toPorts": ports(8080)}
    lab.policy(cilium_policy(given["policy"], {"app": given["server"]}, ingress=[rule]))


TIERS = Task(
    id="tiers",
    title="The first word and the last",
    points=25,
    text="The developers' policy {policy} lets {dev} and {scanner} in at {server}, 8080/TCP, and refuses {monitor}; "
    "for {idle} they have none. You are the administrator, and their policy stays as it is. For every pod labelled "
    "zone={zone}, whatever developers say: {monitor} gets in at 9000/TCP, {scanner} does not get in at all. For the "
    "rest their word counts, and where they have none, no pod gets in. Pods outside the zone, and what the zone sends, "
    "stay as they are.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("closed", "all three words count, in their order", 35, "probe", closed, negative=True),
        Check("kept", "the developers' policy is as it was", 20, "state", kept, needs=("closed",)),
        Check("others", "nothing else is restricted", 25, "invariant", others, needs=("kept",), negative=True),
        Check("refused", "the scanner is refused by a rule", 20, "flow", refused, needs=("others",)),
    ),
    hints=(
        Hint(
            "closed",
            (
                "Who gets in and should not: the scanner, or somebody at {idle}?",
                "Two policies: tier Admin for what you decide, tier Baseline for what nobody has decided.",
                "ClusterNetworkPolicy, policy.networking.k8s.io/v1alpha2: tier, priority, subject, ingress with action",
            ),
        ),
        Hint(
            "closed",
            (
                "Somebody who should get in does not. Who decided that, and in which tier?",
                'lab.why("{monitor}", "{server}", "9000/TCP") says which rule decided, and what else fits.',
                "Only Accept in the tier Admin is asked before the developers' deny rule.",
            ),
            state="way-broken",
        ),
        Hint(
            "others",
            (
                "A pod outside the zone is restricted now.",
                "Whom do your policies have as their subject?",
                "subject: {{pods: {{namespaceSelector: {{}}, podSelector: {{matchLabels: {{zone: {zone}}}}}}}}}",
            ),
        ),
    ),
    solutions=(two_tiers, as_it_was_before),
    mutants=(
        Mutant(by_cilium, caught_by="closed"),
        Mutant(no_baseline, caught_by="closed"),
        Mutant(denied_first, caught_by="closed"),
        Mutant(everywhere, caught_by="others"),
        Mutant(overruled, caught_by="kept"),
    ),
)
