"""Lab 09, third task: the world by its addresses, but for a block of them; and a pod, which no block can mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import flow, invariant, probe
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.doors import cilium_policy, labelled, ports
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_WORLD = {"203.0.113.10": "203.0.113.0/24", "172.30.255.254": "172.30.255.0/24"}
"""The two addresses of every embedded cluster's world, and a block around each."""
_WORLD_IPV6 = "2001:db8:ffff::10"
_PORTS = (80, 8080)
_ALL = "0.0.0.0/0"


def draw(seed: Draw) -> dict[str, Any]:
    """A caller, a friend and a stranger; which of the world's addresses is shut, and the port."""
    names = [seed.name() for _ in range(3)]
    shut = seed.choice(sorted(_WORLD))
    return {
        "caller": f"{names[0]}-caller", "friend": f"{names[1]}-friend", "stranger": f"{names[2]}-stranger",
        "block": _WORLD[shut], "shut": shut, "open": next(one for one in _WORLD if one != shut),
        "port": seed.choice(_PORTS),
    }  # fmt: skip


def setup(lab: Lab, given: Given) -> None:
    """Three pods on three nodes."""
    for name, node in (("caller", "node2"), ("friend", "node1"), ("stranger", "node3")):
        lab.pod(given[name], node=node)


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """The caller reaches everybody."""
    world = [_world(given, address, port) for address in _WORLD for port in _PORTS]
    return probe.allowed(reader, [*world, _pod(given, "friend"), _pod(given, "stranger")])


def _world(given: Given, address: str, port: int = 0) -> Probe:
    family: Any = "ipv6" if ":" in address else "ipv4"
    return Probe(given["caller"], address, port or given["port"], family=family)


def _pod(given: Given, name: str) -> Probe:
    return Probe(given["caller"], given[name])


def closed(reader: ClusterReader, given: Given) -> CheckResult:
    """The block, another port, IPv6 and the other pod are shut; the rest of the world and the friend are not."""
    elsewhere = next(one for one in _PORTS if one != given["port"])
    shut = [
        _world(given, given["shut"]),
        _world(given, given["open"], elsewhere),
        _world(given, _WORLD_IPV6),
        _pod(given, "stranger"),
        Probe(given["caller"], given["friend"], 9000, "tcp"),
    ]
    why = "a block means addresses outside the cluster, without those it excepts; a pod is meant by its labels"
    wanted = [_world(given, given["open"]), _pod(given, "friend")]
    return probe.denied(reader, shut, otherwise=wanted, why=why, read="the section about the outside")


def judged(reader: ClusterReader, given: Given) -> CheckResult:
    """Policy was asked about both, and has allowed them."""
    return flow.judged_as(reader, [_world(given, given["open"]), _pod(given, "friend")], "allow")


def others(reader: ClusterReader, given: Given) -> CheckResult:
    """What comes in at the caller, and what others do."""
    ways = [
        Probe(given["friend"], given["caller"]),
        Probe(given["stranger"], given["friend"]),
        Probe(given["stranger"], given["shut"], given["port"]),
    ]
    return invariant.still_answered(reader, ways, why="only what the caller sends was to be restricted")


def friend(reader: ClusterReader, given: Given) -> CheckResult:
    """The friend is reached in both families."""
    return probe.allowed(reader, both_families(_pod(given, "friend")), why="a pod has one identity, in both families")


def _policy(given: Given, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return cilium_policy("calls", {"app": given["caller"]}, egress=list(rules), **more)


def _friend(given: Given) -> dict[str, Any]:
    return {"toEndpoints": [labelled(app=given["friend"])], "toPorts": ports(8080)}


def _rest(given: Given) -> dict[str, Any]:
    return {"toCIDRSet": [{"cidr": _ALL, "except": [given["block"]]}], "toPorts": ports(given["port"])}


def with_except(lab: Lab, given: Given) -> None:
    """All of IPv4 but the block, and the friend by its label."""
    lab.policy(_policy(given, _rest(given), _friend(given)))


def with_deny(lab: Lab, given: Given) -> None:
    """All of IPv4 is allowed and the block is denied: a deny rule is stronger than any that allows."""
    world = {"toCIDR": [_ALL], "toPorts": ports(given["port"])}
    lab.policy(_policy(given, world, _friend(given), egressDeny=[{"toCIDR": [given["block"]]}]))


def no_exception(lab: Lab, given: Given) -> None:
    """The block is open too."""
    lab.policy(_policy(given, {"toCIDR": [_ALL], "toPorts": ports(given["port"])}, _friend(given)))


def the_world(lab: Lab, given: Given) -> None:
    """The entity world: both blocks, and IPv6."""
    lab.policy(_policy(given, {"toEntities": ["world"], "toPorts": ports(given["port"])}, _friend(given)))


def friend_by_address(lab: Lab, given: Given) -> None:
    """The friend's address, as if a block could mean a pod."""
    address = {"toCIDR": [f"{lab.address(given['friend'])}/32"], "toPorts": ports(8080)}
    lab.policy(_policy(given, _rest(given), address))


def any_pod(lab: Lab, given: Given) -> None:
    """All pods of the namespace."""
    lab.policy(_policy(given, _rest(given), {"toEndpoints": [{}], "toPorts": ports(8080)}))


def both_ways(lab: Lab, given: Given) -> None:
    """Nobody reaches the caller any more."""
    lab.policy(_policy(given, _rest(given), _friend(given), ingress=[{}]))


OUTSIDE = Task(
    id="outside",
    title="The world, but for a block",
    points=25,
    text="{caller} may ask the world outside at {port}/TCP over IPv4, but nothing in {block}; and of the cluster the "
    "pod {friend} alone, at 8080/TCP. It may send nothing else. What comes in at {caller} stays open.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("closed", "nothing else gets out", 40, "probe", closed, negative=True),
        Check("others", "nothing else is restricted", 30, "invariant", others, needs=("closed",), negative=True),
        Check("judged", "policy lets both pass", 15, "flow", judged, needs=("others",)),
        Check("friend", "the pod is reached in both families", 15, "probe", friend, needs=("others",)),
    ),
    hints=(
        Hint(
            "closed",
            (
                "What gets out that should not: the block, another port, IPv6, another pod?",
                'lab.policy_view("{caller}") shows the peers of its egress. Is the block a row of its own?',
                'toCIDRSet: [{{cidr: 0.0.0.0/0, except: ["{block}"]}}] with toPorts, and toEndpoints for {friend}',
            ),
        ),
        Hint(
            "closed",
            (
                "Something that should be answered is not. Is it the pod, or the world?",
                'lab.why("{caller}", "{friend}", "8080/TCP") says what nearly matched, and why it did not.',
                "A block never means a pod. A second rule: toEndpoints: [{{matchLabels: {{app: {friend}}}}}]",
            ),
            state="way-broken",
        ),
        Hint(
            "others",
            (
                "Your policy restricts more than what {caller} sends.",
                "Which pods does it select? Has it a section ingress?",
                "endpointSelector: {{matchLabels: {{app: {caller}}}}}, and egress alone.",
            ),
        ),
    ),
    solutions=(with_except, with_deny),
    mutants=(
        Mutant(no_exception, caught_by="closed"),
        Mutant(the_world, caught_by="closed"),
        Mutant(friend_by_address, caught_by="closed"),
        Mutant(any_pod, caught_by="closed"),
        Mutant(both_ways, caught_by="others"),
    ),
)
