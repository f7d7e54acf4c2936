"""Lab 04: the largest packet of a path, and a wire that takes less than everybody believes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import probe
from glasshive.lab.checks.outcome import all_of, bad, good, judged
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

ANSWER = "answer"
_HEADERS = 28  # IPv4 20 bytes, ICMP 8
_WHOLE_MTU, _NARROW_MTU = 1500, 1300
_LARGE, _SMALL = 1400, 1000
_NODES = ("node1", "node2", "node3")


# --- largest ---


def draw_largest(seed: Draw) -> dict[str, Any]:
    """Two pods on two nodes."""
    first, second = seed.sample(_NODES, 2)
    return {"source": seed.name(), "target": seed.name(), "nodes": [first, second]}


def two_pods(lab: Lab, given: Given) -> None:
    """Make both."""
    for name, node in zip((given["source"], given["target"]), given["nodes"], strict=True):
        lab.pod(name, node=node)


def answered(reader: ClusterReader, given: Given) -> CheckResult:
    """The path works for what is small."""
    return probe.allowed(reader, [Probe(given["source"], given["target"], protocol="ping", size=_SMALL)])


def written(reader: ClusterReader, _: Given) -> CheckResult:
    """The answer is there, as two whole numbers. States: absent, no-number."""
    wanted = f"a ConfigMap {ANSWER} with whole numbers as overlay and native"
    found = reader.get("configmap", ANSWER)
    if found is None:
        return bad(f"there is no ConfigMap {ANSWER}", wanted, state="absent")
    data = found.get("data") or {}
    wrong = [name for name in ("overlay", "native") if not _number(data.get(name))]
    return judged(not wrong, f"no whole number: {', '.join(wrong)}" if wrong else wanted, wanted, state="no-number")


def _number(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdigit() and 0 < int(text) < 60_000


def _held(reader: ClusterReader, name: str) -> int:
    found = reader.get("configmap", ANSWER) or {}
    return int((found.get("data") or {}).get(name) or 0)


def _whole(given: Given, size: int) -> Probe:
    return Probe(given["source"], given["target"], protocol="ping", size=size, whole=True)


def passes(reader: ClusterReader, given: Given) -> CheckResult:
    """A ping with that payload gets through in one piece."""
    size = _held(reader, "overlay")
    found = probe.allowed(reader, [_whole(given, size)], state="too-large", why="it was not to be fragmented")
    return good(f"a ping with {size} bytes is answered, unfragmented") if found else found


def not_more(reader: ClusterReader, given: Given) -> CheckResult:
    """One byte more does not get through."""
    size = _held(reader, "overlay")
    why = "the largest is asked for, and a larger one passes too"
    return probe.denied(reader, [_whole(given, size + 1)], otherwise=[_whole(given, size)], why=why)


def native(reader: ClusterReader, given: Given) -> CheckResult:
    """Without an outer header a pod would have all that the node's wire carries."""
    wires = [one["mtu_bytes"] for node in given["nodes"] for one in reader.survey(node, "devices")
             if one["name"] == "eth0"]  # fmt: skip
    held, wanted = _held(reader, "native"), min(wires) - _HEADERS
    why = "natively a packet on the wire is the pod's own packet, and the wire carries what its MTU says"
    return judged(held == wanted, f"native is {held}", "what the nodes' wire carries, less the headers", why=why)


def by_arithmetic(lab: Lab, given: Given) -> None:
    """The MTU less 20 bytes of IP and 8 of ICMP: of the pod's device, and of the node's wire."""
    here = lab.endpoint(given["source"])["mtu"]
    wire = next(one["mtu_bytes"] for one in lab.cluster.survey(given["nodes"][0]) if one["name"] == "eth0")
    write(lab, here - 28, wire - 28)


def by_trying(lab: Lab, given: Given) -> None:
    """Halve until one passes and the next does not: between the pods here, and between the nodes for the wire."""
    pod = lab.address(given["target"])
    node = next(one.addresses[0] for one in lab.cluster.topology().nodes if one.name == given["nodes"][1])

    def largest(passes: Any) -> int:
        low, high = 1000, 2000
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if passes(middle) else (low, middle)
        return low

    def once(size: int, address: str) -> list[str]:
        return ["ping", "-c", "1", "-W", "1", "-M", "do", "-s", str(size), address]

    overlay = largest(lambda size: " 0% packet loss" in lab.exec(given["source"], once(size, pod)))
    wire = largest(lambda size: not lab.cluster.node_exec(given["nodes"][0], once(size, node)).returncode)
    write(lab, overlay, wire)


def write(lab: Lab, overlay: int, wire: int) -> None:
    """Write the answer down."""
    data = {"overlay": str(overlay), "native": str(wire)}
    lab.cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ANSWER}, "data": data}, lab.namespace
    )


def the_mtu_itself(lab: Lab, _: Given) -> None:
    """The headers were forgotten."""
    write(lab, 1450, 1472)


def one_that_passes(lab: Lab, _: Given) -> None:
    """It passes, but so do larger ones."""
    write(lab, 1400, 1472)


def as_if_native(lab: Lab, _: Given) -> None:
    """The outer header was forgotten."""
    write(lab, 1472, 1472)


LARGEST = Task(
    id="largest",
    title="The largest packet that passes whole",
    points=50,
    text="Pods {source} and {target} are on two nodes. How many bytes may a ping from one to the other carry so that "
    "it passes without being fragmented, here and on the same nodes with native routing? Write both numbers into a "
    "ConfigMap called answer, as overlay and native. IPv4; count what ping -s counts.",
    draw=draw_largest,
    setup=two_pods,
    ready=answered,
    checks=(
        Check("written", "the answer is written down", 5, "state", written),
        Check("passes", "a ping of that size passes whole", 25, "probe", passes, needs=("written",)),
        Check("not-more", "one byte more does not", 50, "probe", not_more, needs=("passes",), negative=True),
        Check("native", "natively it is as much as the wire carries", 20, "state", native, needs=("written",)),
    ),
    hints=(
        Hint(
            "written",
            (
                "Try: ping -M do sends a packet that must not be fragmented, -s says how many bytes it carries.",
                'lab.exec("{source}", "ping -c 1 -W 1 -M do -s 1000 " + lab.address("{target}")) passes: go on.',
                'lab.kubectl("create", "configmap", "answer", "--from-literal=overlay=N", "--from-literal=native=N")',
            ),
        ),
    ),
    solutions=(by_arithmetic, by_trying),
    mutants=(
        Mutant(the_mtu_itself, caught_by="passes"),
        Mutant(one_that_passes, caught_by="not-more"),
        Mutant(as_if_native, caught_by="passes"),
    ),
)


# --- narrow ---


def draw_narrow(seed: Draw) -> dict[str, Any]:
    """The node that the task before does not use, and one to look from."""
    used = draw_largest(Draw(seed.seed, "largest"))["nodes"]
    node = next(one for one in _NODES if one not in used)
    names = [seed.name(), seed.name()]
    return {"node": node, "from": seed.choice(sorted(used)), "client": f"c-{names[0]}", "server": f"s-{names[1]}"}


def narrow_wire(lab: Lab, given: Given) -> None:
    """Two pods, and a node's device that takes less than before."""
    lab.pod(given["client"], node=given["from"])
    lab.pod(given["server"], node=given["node"])
    lab.inject("mtu", node=given["node"], bytes=_NARROW_MTU)


def _ping(given: Given, size: int, *, whole: bool = True) -> Probe:
    return Probe(given["client"], given["server"], protocol="ping", size=size, whole=whole)


def vanishes(reader: ClusterReader, given: Given) -> CheckResult:
    """Small ones are answered, large ones are not."""

    def large() -> CheckResult:
        (found,) = probe.send(reader, [_ping(given, _LARGE)], wait_s=0.5)
        return judged(bool(found.error), f"a ping with {_LARGE} bytes: {found.error or 'answered'}", "no answer")

    return all_of(lambda: probe.allowed(reader, [_ping(given, _SMALL)]), large)


def large_whole(reader: ClusterReader, given: Given) -> CheckResult:
    """Large packets pass, both ways, in both families."""
    ways = both_families(
        _ping(given, _LARGE), Probe(given["server"], given["client"], protocol="ping", size=_LARGE, whole=True)
    )
    return probe.allowed(reader, ways, why="a pod sends what its own device allows, and is not told of a narrower wire")


def full_size(reader: ClusterReader, given: Given) -> CheckResult:
    """Pods may still send as much as before, and one byte more is still refused."""
    most = reader.endpoint(given["client"])["mtu"] - _HEADERS
    return probe.denied(
        reader, [_ping(given, most + 1)], otherwise=[_ping(given, most)], why="pods were not to be changed"
    )


def others_work(reader: ClusterReader, given: Given) -> CheckResult:
    """Small packets, and HTTP, as before; all nodes' wires are alike."""
    mtus = {node.name: one["mtu_bytes"] for node in reader.nodes() for one in reader.survey(node.name, "devices")
            if one["name"] == "eth0"}  # fmt: skip
    if set(mtus.values()) != {_WHOLE_MTU}:
        told = ", ".join(f"{name} {mtu}" for name, mtu in mtus.items())
        return bad(f"MTU of eth0: {told}", f"{_WHOLE_MTU} at every node", why="one network, one MTU", state="unlike")
    return probe.allowed(reader, both_families(Probe(given["client"], given["server"])), why="it worked before")


def with_ip(lab: Lab, given: Given) -> None:
    """Set the device's MTU as that of its neighbours."""
    lab.cluster.node_exec(given["node"], ["ip", "link", "set", "dev", "eth0", "mtu", str(_WHOLE_MTU)])


def with_netlink(lab: Lab, given: Given) -> None:
    """The same through netlink, as the agent would."""
    from pyroute2 import NetNS

    with NetNS(f"gh-{lab.cluster.name}-{given['node']}") as kernel:
        (index,) = kernel.link_lookup(ifname="eth0")
        kernel.link("set", index=index, mtu=_WHOLE_MTU)


def not_enough(lab: Lab, given: Given) -> None:
    """Larger, but the outer header was forgotten."""
    lab.cluster.node_exec(given["node"], ["ip", "link", "set", "dev", "eth0", "mtu", "1428"])


def another_node(lab: Lab, given: Given) -> None:
    """The node from which it was seen is another one."""
    lab.cluster.node_exec(given["from"], ["ip", "link", "set", "dev", "eth0", "mtu", "1600"])
    lab.cluster.node_exec(given["from"], ["ip", "link", "set", "dev", "eth0", "mtu", str(_WHOLE_MTU)])


def smaller_pods(lab: Lab, given: Given) -> None:
    """The pods were made to send less."""
    for name in (given["client"], given["server"]):
        lab.exec(name, "ip link set dev eth0 mtu 1280")


NARROW = Task(
    id="narrow",
    title="Find the narrow wire",
    points=50,
    text="Small packets from {client} on {from} reach {server}, large ones vanish, and nobody is told. Find out where, "
    "and mend it there. What pods may send was to stay as it is.",
    draw=draw_narrow,
    setup=narrow_wire,
    ready=vanishes,
    checks=(
        Check("large", "large packets pass whole, both ways", 40, "probe", large_whole),
        Check("full-size", "pods may send as much as before", 30, "probe", full_size, needs=("large",), negative=True),
        Check("others", "nothing else changed", 30, "invariant", others_work, needs=("large",), negative=True),
    ),
    hints=(
        Hint(
            "large",
            (
                "Which devices does the packet pass, and how much does each of them take?",
                'lab.cluster.survey("{node}") lists a node\'s devices with mtu_bytes. Compare the nodes.',
                'lab.cluster.node_exec("{node}", "ip link set dev eth0 mtu 1500")',
            ),
        ),
    ),
    solutions=(with_ip, with_netlink),
    mutants=(
        Mutant(not_enough, caught_by="large"),
        Mutant(another_node, caught_by="large"),
        Mutant(smaller_pods, caught_by="large"),
    ),
)

TASKS = (LARGEST, NARROW)
