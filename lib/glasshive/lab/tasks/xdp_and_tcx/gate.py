"""Lab 18, task gate: an XDP program that drops and counts before the stack sees a packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import program, wired
from glasshive.lab.checks.outcome import all_of, good
from glasshive.lab.checks.program import Counts, Key, Row, Table
from glasshive.lab.draw import Draw
from glasshive.lab.packets import ETH_ARP, ETH_IPV6, ethernet, ping, tcp, udp
from glasshive.lab.pinned import XDP_ACTIONS
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.written import Step, attaches, changed, exercise, teaching, writes
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_MAPS = (Table("closed"), Table("verdicts", least=3))
_DROP, _PASS = 1, 2
_DEVICE = 2  # eth0 of right
_EXPERIMENT = 0x88B5  # an EtherType for local experiments (IEEE 802)


def draw(seed: Draw) -> dict[str, Any]:
    """A port to be closed, one that stays open, and how many datagrams go to each."""
    port = seed.port()
    return {"port": port, "open": port + seed.integer(1, 500), "closed_count": seed.integer(3, 6),
            "open_count": seed.integer(7, 9)}  # fmt: skip


def at_right(reader: ClusterReader, _: Given) -> CheckResult:
    """It is in the kernel, with its maps, and at the XDP hook of right."""
    wanted = {"xdp of eth0 in right": ("xdp", _DEVICE)}
    return all_of(
        lambda: program.loaded(reader, "gate", {"gate": "xdp"}, maps=_MAPS, read="the section on XDP"),
        lambda: program.attached(reader, "gate", wanted, why="a loaded program sees no packet until it is attached"),
    )


def drops(reader: ClusterReader, given: Given) -> CheckResult:
    """Datagrams to the closed port do not arrive, others do, and the counts are exactly what was sent."""
    closed, opened = given["closed_count"], given["open_count"]
    wanted: Counts = {(_DROP,): closed, (_PASS,): opened}
    seen: list[CheckResult] = []

    def send() -> None:
        why = "the port stands in closed"
        seen.append(wired.stays_out(reader, "left", given["port"], closed, why=why))
        seen.append(wired.arrives(reader, "left", given["open"], opened, why="this port does not stand in closed"))

    counted = program.counted(reader, "gate", "verdicts", send, wanted, words=_action, why="each verdict counts once")
    wrong = [one for one in (*seen, counted) if not one]
    return wrong[0] if wrong else good("; ".join(one.observed for one in (*seen, counted)))


def _action(key: Key) -> str:
    return XDP_ACTIONS.get(int(str(key[0])), f"verdict {key[0]}")


def passes(reader: ClusterReader, given: Given) -> CheckResult:
    """What only looks like such a datagram passes, and what right sends is none of its business."""
    port = given["port"]
    others = {
        "TCP to that port": tcp(target_port=port),
        "UDP from that port": udp(source_port=port, target_port=given["open"]),
        "ping": ping(port.to_bytes(2) * 8),
        "another EtherType": ethernet(_EXPERIMENT, udp(target_port=port)[14:]),
        "IPv6": ethernet(ETH_IPV6, bytes([0x60, *[0] * 5, 17, *[0] * 15]) + port.to_bytes(2) * 20),
        "a frame of 16 bytes": ethernet(ETH_ARP, b"\0\1"),
    }
    rows = [Row(told, frame, "XDP_PASS", "drops-others") for told, frame in others.items()]
    rows.append(Row("UDP to that port", udp(target_port=port), "XDP_DROP", "lets-through"))
    with program.undisturbed(reader):
        return all_of(
            lambda: program.ruled(reader, "gate", rows, why="only UDP over IPv4, and only by its destination port"),
            lambda: wired.arrives(reader, "right", port, given["open_count"], why="XDP sees what comes in"),
        )


def _close(lab: Lab, given: Given) -> None:
    """A step: put the port into the map."""
    lab.workshop.program("gate").put("closed", given["port"], 1)


_gate = exercise("gate")
_AT: tuple[Step, ...] = (_close, attaches("gate", "right", "xdp"))
_LOOK = "if (bpf_map_lookup_elem(&closed, &port))"
GATE = Task(
    id="gate",
    title="Dropped before the stack",
    points=55,
    text="Complete the XDP program gate: UDP datagrams over IPv4 to a port that stands in its map closed are dropped, "
    "everything else passes, and each verdict counts once in verdicts, at the verdict's number. Close port {port}, and "
    "attach it to right, xdp.",
    draw=draw,
    after=("cable",),
    checks=(
        Check("at-right", "gate is loaded, and at the XDP hook of right", 10, "state", at_right),
        Check("drops", "it drops for the closed port only, and counts what it did", 45, "probe", drops,
              needs=("at-right",)),
        Check("passes", "what only looks like it passes", 45, "invariant", passes, needs=("drops",), negative=True),
    ),
    hints=(
        Hint(
            "at-right",
            (
                "An XDP program's section is xdp, its context struct xdp_md, and its verdicts XDP_PASS and XDP_DROP.",
                "Prove Ethernet, IPv4 and UDP headers at once: (void *)(udp + 1) > end.",
                "Look port up in closed: what is there is closed. Then gate.attach(\"right\", \"xdp\").",
            ),
        ),
        Hint(
            "drops",
            (
                "The map says that the program has seen nothing, or not all. Compare with what arrived.",
                "Is the port in closed? And is the program in the driver: at the hook xdp, not xdp generic?",
                'gate.put("closed", {port}, 1) and gate.attach("right", "xdp"); generic XDP sees nothing redirected.',
            ),
            state="arrived",
        ),
        Hint(
            "drops",
            (
                "Compare what arrived with what the map verdicts says.",
                "Does the port stand in closed, as a number in the byte order in which the program looks it up?",
                'gate.put("closed", {port}, 1); in the program __u16 port = bpf_ntohs(udp->dest);',
            ),
        ),
        Hint(
            "passes",
            (
                "It drops what it should, and something else besides.",
                "TCP has its ports in the same place, and a datagram has two of them.",
                "Only if h_proto is IPv4, protocol is UDP and the destination port is closed.",
            ),
        ),
    ),
    solutions=(
        writes("hashed", "The closed ports are a hash map's keys.", "gate", _gate, _AT),
        writes("a_place_for_each", "An array has a place for each port.", "gate", teaching("gate_array"), _AT),
    ),
    mutants=(
        Mutant(writes("nothing_closed", "No port stands in the map.", "gate", _gate, _AT[1:]), "drops"),
        Mutant(
            writes("by_source", "It judges by the port that a datagram comes from.", "gate",
                   changed(_gate, ("bpf_ntohs(udp->dest)", "bpf_ntohs(udp->source)")), _AT),
            "drops",
        ),
        Mutant(
            writes("counts_passes_only", "What it drops, it does not count.", "gate",
                   changed(_gate, ("return counted(XDP_DROP)", "return XDP_DROP")), _AT),
            "drops",
        ),
        Mutant(
            writes("tcp_too", "It takes TCP for UDP.", "gate",
                   changed(_gate, (" || ip->protocol != IPPROTO_UDP", "")), _AT),
            "passes",
        ),
        Mutant(
            writes("any_frame", "It takes every frame for IPv4.", "gate",
                   changed(_gate, ("eth->h_proto != bpf_htons(ETH_P_IP) || ", "")), _AT),
            "passes",
        ),
        Mutant(
            # The kernel leaves generic XDP out for packets that a redirect has brought (netif_receive_generic_xdp).
            writes("in_generic_mode", "It runs behind the driver: redirected packets miss it.", "gate", _gate,
                   (_close, attaches("gate", "right", "xdp generic"))),
            "drops",
        ),
        Mutant(writes("not_attached", "It is loaded, and attached nowhere.", "gate", _gate, (_close,)), "at-right"),
    ),
)  # fmt: skip
