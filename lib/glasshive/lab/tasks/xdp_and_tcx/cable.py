"""Lab 18, task cable: two devices joined by one redirect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import program, wired
from glasshive.lab.checks.outcome import all_of, bad, good
from glasshive.lab.checks.program import Row
from glasshive.lab.draw import Draw
from glasshive.lab.packets import ETH_ARP, ETH_IPV6, ethernet, ping, tcp, udp
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.wire import INDEX
from glasshive.lab.written import Step, attaches, changed, exercise, teaching, writes
from glasshive.model.check_result import CheckResult
from glasshive.net import netns

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_REDIRECT = "TC_ACT_REDIRECT"


def draw(seed: Draw) -> dict[str, Any]:
    """A port, and how many datagrams are sent."""
    return {"port": seed.port(), "count": seed.integer(4, 9)}


def setup(lab: Lab, _: Given) -> None:
    """The wire, with nothing on it."""
    lab.wire()


def ready(reader: ClusterReader, _: Given) -> CheckResult:
    """The wire is there."""
    return wired.there(reader)


def joined(reader: ClusterReader, _: Given) -> CheckResult:
    """It is in the kernel, and where packets come in on both sides of mid."""
    wanted = {f"tcx ingress of {name} in mid": ("tcx_ingress", index) for name, index in INDEX.items()}
    return all_of(
        lambda: program.loaded(reader, "cable", {"cable": "sched_cls"}, read="the section about the wire"),
        lambda: program.attached(reader, "cable", wanted, why="a cable has two ends"),
    )


def carries(reader: ClusterReader, given: Given) -> CheckResult:
    """Datagrams cross in both directions."""
    port, count, why = given["port"], given["count"], "what comes in on one side goes out on the other"
    with program.undisturbed(reader):
        return all_of(
            lambda: wired.arrives(reader, "left", port, count, why=why),
            lambda: wired.arrives(reader, "right", port, count, why=why),
        )


def honest(reader: ClusterReader, given: Given) -> CheckResult:
    """Each packet goes out once, on the other side only; and whatever kind of frame it is."""
    with program.undisturbed(reader):
        before = wired.received(reader)
        wired.wire(reader).send("left", port=given["port"], count=given["count"])
        after = wired.received(reader)
    found = {end: after[end] - before[end] for end in wired.ENDS}
    if found != {"left": 0, "right": given["count"]}:
        told = f"{given['count']} sent by left; right received {found['right']}, left {found['left']}"
        wanted = f"right receives {given['count']}, left none"
        return bad(told, wanted, why="a cable neither doubles packets nor returns them", state="doubled")
    kinds = {"UDP": udp(), "TCP": tcp(), "ping": ping(), "ARP": ethernet(ETH_ARP, bytes(46)),
             "IPv6": ethernet(ETH_IPV6, bytes([0x60, *[0] * 59]))}  # fmt: skip
    rows = [Row(f"{kind} on device 11", frame, _REDIRECT, "choosy") for kind, frame in kinds.items()]
    where = netns.path_of(wired.wire(reader).namespace("mid"))
    ruled = netns.in_netns(where, lambda: program.ruled(reader, "cable", rows, why="a cable carries all", ifindex=11))
    return good(f"{given['count']} sent, {given['count']} received, none came back") if ruled else ruled


def _pairs(*pairs: tuple[int, int]) -> Step:
    """Fill the map of the program that finds its way by one."""

    def step(lab: Lab, _: Given) -> None:
        for here, there in pairs:
            lab.workshop.program("cable").put("peers", here, there)

    return step


_cable = exercise("cable")
_LINE = "return bpf_redirect(skb->ifindex == 11 ? 12 : 11, 0);"
_BOTH = (attaches("cable", "mid/to-left", "tcx ingress"), attaches("cable", "mid/to-right", "tcx ingress"))
CABLE = Task(
    id="cable",
    title="Two devices, one redirect",
    points=45,
    text="Write the tc program cable: what comes in on device 11 of mid (to-left) goes out on device 12 (to-right), "
    "and the other way round, whatever frame it is. Attach it at mid/to-left and mid/to-right, tcx ingress.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("joined", "cable is loaded, and at both devices of mid", 10, "state", joined),
        Check("carries", "datagrams cross in both directions", 45, "probe", carries, needs=("joined",)),
        Check("honest", "each frame goes out once, on the other side only", 45, "invariant", honest,
              needs=("carries",), negative=True),
    ),
    hints=(
        Hint(
            "joined",
            (
                "A program that sends a packet out of another device returns what bpf_redirect returns.",
                "skb->ifindex is the device on which the packet came in: 11 or 12.",
                "return bpf_redirect(skb->ifindex == 11 ? 12 : 11, 0);",
            ),
            state="absent",
        ),
        Hint(
            "joined",
            (
                "The program is loaded. Packets come in on two devices of mid.",
                "attach(place, hook) once for each of them; the hook is where packets come in.",
                'cable.attach("mid/to-left", "tcx ingress"), and the same for "mid/to-right".',
            ),
        ),
        Hint(
            "carries",
            (
                "It is attached on both sides, and datagrams do not cross. Where do they go?",
                "From 11 the way leads to 12, from 12 to 11; and 0 as bpf_redirect's second argument means: out of it.",
                "return bpf_redirect(skb->ifindex == 11 ? 12 : 11, 0);",
            ),
        ),
        Hint(
            "honest",
            (
                "Datagrams cross. Are there more of them than were sent, or frames that are not carried?",
                "The devices count what they receive; and ARP, IPv6 and TCP are frames too.",
                "One bpf_redirect for every frame, and nothing else.",
            ),
        ),
    ),
    solutions=(
        writes("by_number", "The two numbers stand in the program.", "cable", _cable, _BOTH),
        writes("by_map", "The numbers stand in a map.", "cable", teaching("cable_mapped"),
               (_pairs((11, 12), (12, 11)), *_BOTH)),
    ),
    mutants=(
        Mutant(writes("one_end", "It is attached on one side only.", "cable", _cable, _BOTH[:1]), "joined"),
        Mutant(
            writes("back_to_sender", "What comes in goes out where it came from.", "cable",
                   changed(_cable, (_LINE, "return bpf_redirect(skb->ifindex, 0);")), _BOTH),
            "carries",
        ),
        Mutant(
            writes("twice", "Every frame goes out twice.", "cable",
                   changed(_cable, (_LINE, f"bpf_clone_redirect(skb, skb->ifindex == 11 ? 12 : 11, 0);\n\t{_LINE}")),
                   _BOTH),
            "honest",
        ),
        Mutant(
            writes("only_ipv4", "It carries IPv4 and nothing else.", "cable",
                   changed(_cable, (_LINE, f"if (skb->protocol != bpf_htons(ETH_P_IP))\n\t\treturn 0;\n\t{_LINE}")),
                   _BOTH),
            "honest",
        ),
    ),
)  # fmt: skip
