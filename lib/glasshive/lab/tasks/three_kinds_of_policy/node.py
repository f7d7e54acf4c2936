"""Lab 10, third task: a node's own door. What is on the node's network is no endpoint, and in no policy's namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import flow, invariant, probe
from glasshive.lab.checks.probe import Probe
from glasshive.lab.doors import cilium_policy, clusterwide, labelled, ports
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

Object = dict[str, Any]
_NODES = ("node1", "node2", "node3")


def draw(seed: Draw) -> dict[str, Any]:
    """Two nodes with something on their own network, and three pods."""
    node, other = seed.sample(_NODES, 2)
    names = [seed.name() for _ in range(5)]
    return {
        "node": node, "other": other, "edge": f"{names[0]}-edge", "peer": f"{names[1]}-peer",
        "admin": f"{names[2]}-admin", "user": f"{names[3]}-user", "local": f"{names[4]}-local",
    }  # fmt: skip


def setup(lab: Lab, given: Given) -> None:
    """``edge`` and ``peer`` on the nodes' own networks; ``local`` beside ``edge``, the others elsewhere."""
    lab.pod(given["edge"], node=given["node"], host=True)
    lab.pod(given["peer"], node=given["other"], host=True)
    third = next(one for one in _NODES if one not in (given["node"], given["other"]))
    for name, node in (("local", given["node"]), ("admin", given["other"]), ("user", third)):
        lab.pod(given[name], node=node)


def _address(reader: ClusterReader, node: str, family: str = "ipv4") -> str:
    found = next(one for one in reader.nodes() if one.name == node)
    return next(one for one in found.addresses if (":" in one) == (family == "ipv6"))


def _to(reader: ClusterReader, given: Given, source: str, port: int = 9000, *, family: Any = "ipv4") -> Probe:
    address = _address(reader, given["node"], family)
    return Probe(given[source], address, port, "http" if port == 8080 else "tcp", family=family)


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """Everybody reaches the node at both ports."""
    names = ("admin", "user", "local", "peer")
    return probe.allowed(reader, [_to(reader, given, name, port) for name in names for port in (8080, 9000)])


def closed(reader: ClusterReader, given: Given) -> CheckResult:
    """Port 9000 is the admin's among the pods; 8080 is everybody's; other nodes may do anything."""
    shut = [_to(reader, given, name, family=family) for name in ("user", "local") for family in ("ipv4", "ipv6")]
    ways = [_to(reader, given, "admin"), _to(reader, given, "user", 8080), _to(reader, given, "peer")]
    why = "a node is selected by nodeSelector, and has a default deny then as a pod would"
    return probe.denied(reader, shut, otherwise=ways, why=why, read="the section about nodes")


def dropped(reader: ClusterReader, given: Given) -> CheckResult:
    """It is the node that drops them, for policy."""
    return flow.dropped(reader, [_to(reader, given, "user")], "policy", node=given["node"])


def others(reader: ClusterReader, given: Given) -> CheckResult:
    """The pods beside it, the other node, and what the node itself sends."""
    elsewhere = _address(reader, given["other"])
    ways = [
        Probe(given["user"], given["local"]),
        Probe(given["user"], elsewhere, 9000, "tcp"),
        Probe(given["edge"], given["user"]),
        Probe(given["edge"], elsewhere),
    ]
    return invariant.still_answered(reader, ways, why="one node was to be guarded, and not its pods")


def open_ways(reader: ClusterReader, given: Given) -> CheckResult:
    """Both families, all who may, also from the node itself."""
    ways = [_to(reader, given, name, family="ipv6") for name in ("admin", "peer")]
    ways += [_to(reader, given, name, 8080, family="ipv6") for name in ("user", "local", "admin", "edge")]
    return probe.allowed(reader, ways)


def _guard(given: Given, *rules: Object, **more: Any) -> Object:
    selects = labelled(**{"kubernetes.io/hostname": given["node"]})
    return clusterwide("guard", {"nodeSelector": selects, "ingress": list(rules), **more})


def _admin(given: Given) -> Object:
    return {"fromEndpoints": [labelled(app=given["admin"])], "toPorts": ports(9000)}


_NODES_MAY: Object = {"fromEntities": ["host", "remote-node"]}
_PODS_MAY: Object = {"fromEndpoints": [{}], "toPorts": ports(8080)}


def allow_list(lab: Lab, given: Given) -> None:
    """The admin at 9000, every pod at 8080, nodes anywhere."""
    lab.policy(_guard(given, _admin(given), _PODS_MAY, _NODES_MAY))


def by_entity(lab: Lab, given: Given) -> None:
    """The same with the entity cluster, which means pods and nodes, at 8080."""
    anybody = {"fromEntities": ["cluster"], "toPorts": ports(8080)}
    lab.policy(_guard(given, _admin(given), anybody, _NODES_MAY))


def every_node(lab: Lab, given: Given) -> None:
    """All nodes are guarded."""
    rules = [_admin(given), _PODS_MAY, _NODES_MAY]
    lab.policy(clusterwide("guard", {"nodeSelector": {}, "ingress": rules}))


def as_a_pod(lab: Lab, given: Given) -> None:
    """A policy for the pod by its label: on the node's network it has no endpoint that could be selected."""
    lab.policy(cilium_policy("guard", {"app": given["edge"]}, ingress=[_admin(given), _PODS_MAY, _NODES_MAY]))


def nodes_forgotten(lab: Lab, given: Given) -> None:
    """Other nodes are shut out."""
    lab.policy(_guard(given, _admin(given), _PODS_MAY))


def anybody(lab: Lab, given: Given) -> None:
    """Every pod gets in at 9000."""
    lab.policy(_guard(given, {"fromEndpoints": [{}], "toPorts": ports(8080, 9000)}, _NODES_MAY))


def cut_off(lab: Lab, given: Given) -> None:
    """The node may not send to anybody any more but other nodes."""
    egress = [{"toEntities": ["remote-node"]}]
    lab.policy(_guard(given, _admin(given), _PODS_MAY, _NODES_MAY, egress=egress))


NODE = Task(
    id="node",
    title="A node's own door",
    points=25,
    text="{edge} runs on {node}, in the node's own network, and listens at 8080 and 9000. Of all pods, {admin} alone "
    "may reach {node} at 9000/TCP, and every pod may at 8080/TCP. Nodes may reach it at any port. Other nodes, the "
    "pods on {node}, and what {node} sends stay as they are.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("closed", "port 9000 of the node is guarded", 40, "probe", closed, negative=True),
        Check("others", "nothing else is restricted", 30, "invariant", others, needs=("closed",), negative=True),
        Check("dropped", "the node drops it, for policy", 15, "flow", dropped, needs=("others",)),
        Check("open", "who may gets in, in both families", 15, "probe", open_ways, needs=("others",)),
    ),
    hints=(
        Hint(
            "closed",
            (
                "A pod on the node's own network has no endpoint: who guards it, if no policy of a namespace can?",
                "A CiliumClusterwideNetworkPolicy with nodeSelector in place of endpointSelector.",
                "nodeSelector: {{matchLabels: {{kubernetes.io/hostname: {node}}}}}, and rules as usual under ingress",
            ),
        ),
        Hint(
            "closed",
            (
                "Who should get in and does not: the admin at 9000, a pod at 8080, or another node?",
                "Other nodes are no pods: there is an entity that means them.",
                "Three rules: the admin at 9000; fromEndpoints: [{{}}] at 8080; fromEntities: [host, remote-node]",
            ),
            state="way-broken",
        ),
        Hint(
            "others",
            (
                "Something else is restricted: another node, or what this one sends?",
                "Which nodes does nodeSelector select? Is there a section egress?",
                "nodeSelector: {{matchLabels: {{kubernetes.io/hostname: {node}}}}}, and ingress alone.",
            ),
        ),
    ),
    solutions=(allow_list, by_entity),
    mutants=(
        Mutant(every_node, caught_by="others"),
        Mutant(as_a_pod, caught_by="closed"),
        Mutant(nodes_forgotten, caught_by="closed"),
        Mutant(anybody, caught_by="closed"),
        Mutant(cut_off, caught_by="others"),
    ),
)
