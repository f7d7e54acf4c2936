"""Break and mend: policy was switched off for the whole cluster, because one pod could not look up a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.agent.policy import settings
from glasshive.lab import doors
from glasshive.lab.checks import probe
from glasshive.lab.checks.outcome import all_of, judged
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_DNS = 53
_RESOLVER = {"k8s-app": "kube-dns", "k8s:io.kubernetes.pod.namespace": "kube-system"}


def draw(seed: Draw) -> dict[str, Any]:
    """Who serves, who fetches by name, and two who are nobody's business."""
    first, second, third = seed.sample(["node1", "node2", "node3"], 3)
    return {
        "server": f"shop-{seed.name()}", "client": seed.name(), "other": seed.name(), "free": seed.name(),
        "nodes": [first, second, third],
    }  # fmt: skip


def door(given: Given) -> dict[str, Any]:
    """Who may come to the server."""
    return doors.door(f"{given['server']}-door", given["server"], {"app": given["client"]})


def way(given: Given, *more: dict[str, Any]) -> dict[str, Any]:
    """Where the client may go: to the server, and by further rules."""
    rule = {"toEndpoints": [{"matchLabels": {"app": given["server"]}}], "toPorts": doors.ports(doors.HTTP)}
    spec = {"endpointSelector": {"matchLabels": {"app": given["client"]}}, "egress": [rule, *more]}
    return doors.cilium(f"{given['client']}-way", spec)


def names(peer: dict[str, str] | None = None) -> dict[str, Any]:
    """A rule for the resolver."""
    meant = {"toEndpoints": [{"matchLabels": peer}]} if peer else {}
    ports = [{"ports": [{"port": str(_DNS), "protocol": protocol} for protocol in ("UDP", "TCP")]}]
    return {**meant, "toPorts": ports}


def setup(lab: Lab, given: Given) -> None:
    """A server with a name, a client whose way leads there and nowhere else, and no enforcement anywhere."""
    first, second, third = given["nodes"]
    lab.pod(given["server"], node=first)
    lab.pod(given["client"], node=second)
    lab.pod(given["other"], node=third)
    lab.pod(given["free"], node=second)
    spec = {"clusterIP": "None", "selector": {"app": given["server"]}, "ports": [{"port": doors.HTTP}]}
    lab.run({"apiVersion": "v1", "kind": "Service", "metadata": {"name": given["server"]}, "spec": spec})
    lab.policy(door(given), way(given))
    lab.enforce("never")


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """Nothing is enforced on any node, everything works, and the policies are there."""
    server = given["server"]
    ways = [Probe(given["client"], server, protocol="dns"), Probe(given["client"], given["other"])]
    return all_of(
        lambda: _mode(reader, "never"),
        lambda: doors.unchanged(reader, door(given)),
        lambda: doors.unchanged(reader, way(given)),
        lambda: probe.allowed(reader, [*ways, Probe(given["other"], server)]),
    )


def _mode(reader: ClusterReader, wanted: str) -> CheckResult:
    modes = {node.name: reader.ask(node.name, "/v1/config")["PolicyEnforcement"] for node in reader.nodes()}
    wrong = {name: mode for name, mode in modes.items() if mode != wanted}
    told = ", ".join(f"{name}: {mode}" for name, mode in wrong.items()) or f"every node: {wanted}"
    why = "never enforces nothing for anybody, whatever policies there are; always refuses what nobody has thought of"
    return judged(not wrong, told, f"mode {wanted} on every node", why=why, state=next(iter(wrong.values()), ""))


def mode(reader: ClusterReader, _: Given) -> CheckResult:
    """Policy is enforced again, as it was."""
    return _mode(reader, "default")


def by_name(reader: ClusterReader, given: Given) -> CheckResult:
    """The client finds the server by its name, and fetches from it."""
    server = f"{given['server']}.{reader.namespace}.svc.cluster.local"
    ways = [Probe(given["client"], server, protocol="dns"), Probe(given["client"], server)]
    ways += both_families(Probe(given["client"], given["server"]))
    why = "before it sends to a name, a pod asks for the name: that is a packet of its own, to somebody else"
    return probe.allowed(reader, ways, why=why, read="the section about both sides", state="no-name")


def narrow(reader: ClusterReader, given: Given) -> CheckResult:
    """The client goes nowhere else, and nobody else comes to the server."""
    client, server, other = (given[who] for who in ("client", "server", "other"))
    out = both_families(Probe(client, other), Probe(other, server))
    out += [Probe(client, server, port=doors.ECHO, protocol="tcp"), Probe(client, other, port=_DNS, protocol="udp")]
    return probe.denied(reader, out, otherwise=[Probe(client, server)], why="names were to be let pass, and no more")


def others(reader: ClusterReader, given: Given) -> CheckResult:
    """Pods that no policy selects are as free as before."""
    ways = both_families(Probe(given["free"], given["other"]), Probe(given["other"], given["free"]))
    return probe.allowed(reader, ways, state="broken", why="nobody has asked for a policy for them")


# --- acts ---


def with_the_kit(lab: Lab, given: Given) -> None:
    """A rule for the resolver, then the mode."""
    lab.policy(way(given, names(_RESOLVER)))
    lab.enforce("default")


def with_kubectl(lab: Lab, given: Given) -> None:
    """The same by kubectl: the mode stands in the ConfigMap cilium-config, and a second policy adds the resolver."""
    selector = {"matchLabels": {"app": given["client"]}}
    lab.policy(doors.cilium("names", {"endpointSelector": selector, "egress": [names(_RESOLVER)]}))
    patch = f'{{"data": {{"{settings.MODE_KEY}": "default"}}}}'
    place = ("--namespace", settings.CONFIG_NAMESPACE)
    lab.cluster.kubectl(*place, "patch", "configmap", settings.CONFIG_NAME, "--type=merge", f"--patch={patch}")


def only_the_mode(lab: Lab, _: Given) -> None:
    """It is as it was yesterday: the client finds no name."""
    lab.enforce("default")


def too_strict(lab: Lab, given: Given) -> None:
    """Everything is enforced now, also for those whom no policy knows."""
    lab.policy(way(given, names(_RESOLVER)))
    lab.enforce("always")


def without_the_way(lab: Lab, given: Given) -> None:
    """The client's policy was removed: it goes where it likes."""
    lab.no_policy(f"{given['client']}-way")
    lab.enforce("default")


def to_everywhere(lab: Lab, given: Given) -> None:
    """Names work, and so does everything else."""
    lab.policy(way(given, {"toEntities": ["all"]}))
    lab.enforce("default")


def port_53_to_anybody(lab: Lab, given: Given) -> None:
    """The rule names a port and no peer: whoever listens there can be reached."""
    lab.policy(way(given, names()))
    lab.enforce("default")


NEVER_AGAIN = Task(
    id="never-again",
    title="Policy was switched off, and somebody went to bed",
    points=40,
    text="Last night {client} could not fetch from {server} by its name any more; somebody set the mode to never, for "
    "the whole cluster. Set it back to default, and mend what was really wrong: {client} must find {server} by name "
    "and fetch from it at port 8080. As before, it may go nowhere else, and nobody else may come to {server}. Pods "
    "that no policy selects stay free.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("mode", "every node enforces policy, in the mode default", 10, "state", mode),
        Check("by-name", "the client finds the server by name, and fetches", 25, "probe", by_name, needs=("mode",)),
        Check("narrow", "it goes nowhere else, and nobody else comes", 45, "probe", narrow,
              needs=("mode",), negative=True),
        Check("others", "whom no policy selects is free", 20, "invariant", others, needs=("by-name",)),
    ),
    hints=(
        Hint(
            "mode",
            (
                "Which mode do the nodes enforce? glasshive config view says what was set.",
                "With never, nothing is refused and nothing can be seen to be wrong. Set it back, then look.",
                'lab.enforce("default")',
            ),
        ),
        Hint(
            "by-name",
            (
                "Try it by address, then by name. What is the difference, as packets?",
                'lab.policy_view("{client}") after a try: which row has a star? lab.known_as("node1", "10.96.0.10")',
                "A rule in {client}-way: toEndpoints k8s-app=kube-dns of the namespace kube-system, port 53, UDP.",
            ),
        ),
        Hint(
            "narrow",
            (
                "Something passes that did not before.",
                'lab.policy_view("{client}") and lab.policy_view("{server}") show each row that lets something pass.',
                "{client}-way needs two rules, each with a peer and a port: {server} at 8080, kube-dns at 53.",
            ),
        ),
    ),
    solutions=(with_the_kit, with_kubectl),
    mutants=(
        Mutant(only_the_mode, caught_by="by-name"),
        Mutant(too_strict, caught_by="mode"),
        Mutant(without_the_way, caught_by="narrow"),
        Mutant(to_everywhere, caught_by="narrow"),
        Mutant(port_53_to_anybody, caught_by="narrow"),
    ),
)  # fmt: skip
