"""Lab 19, task forward: look a service up, choose a backend, rewrite the packet, keep the checksums right."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import program
from glasshive.lab.checks.balanced import trial
from glasshive.lab.checks.outcome import all_of, bad, good
from glasshive.lab.checks.program import Table
from glasshive.lab.draw import Draw
from glasshive.lab.packets import ETH_ARP, ethernet, ping, read, tcp, udp
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.written import changed, exercise, teaching, writes
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader

PARTS = {"forward": "sched_cls", "backward": "sched_cls"}
_END = ("address", "port", "zero")
MAPS = (
    Table("services", _END, ("first", "count"), 8),
    Table("backends", (), ("end", "alive"), 256),
    Table("connections", ("source", "target"), (), 1024),
    Table("answers", ("source", "target"), _END, 1024),
)
_CLIENTS, _BACKENDS = 600, 3
_LEAST, _MOST = 0.7, 1.3


def draw(seed: Draw) -> dict[str, Any]:
    """Which clients come first, and what they say."""
    return {"client": seed.integer(0, 20_000), "payload": seed.token()[: seed.integer(5, 15)]}


def rewritten(reader: ClusterReader, given: Given) -> CheckResult:
    """It is in the kernel, and what it sends to a backend is right in every respect."""
    return all_of(
        lambda: program.loaded(reader, "balance", PARTS, maps=MAPS, read="the section about what is yours to write"),
        lambda: _rewritten(reader, given),
    )


def _rewritten(reader: ClusterReader, given: Given) -> CheckResult:
    found = program.pinned(reader, "balance")
    payload = str(given["payload"]).encode()
    with trial(found, _BACKENDS) as service:
        frames = [service.frame(client, payload) for client in range(given["client"], given["client"] + 24)]
        for frame, ran in zip(frames, found.run_all(frames, "forward"), strict=True):
            before = read(frame)
            after = ran.packet
            assert before is not None
            if ran.verdict != "TC_ACT_OK" or after is None:
                return bad(f"the verdict is {ran.verdict}", "TC_ACT_OK: it goes on, to another target", state="verdict")
            if (after.target, after.target_port) not in service.backends[:_BACKENDS]:
                # In words that stay the same: the grader's addresses are others each time it looks.
                where = "to the service itself" if after.target == service.address else "where no backend is"
                wanted = "it goes to one of the service's three backends, address and port"
                return bad(f"a packet to the service goes {where}", wanted, state="target")
            if not after.checksums_hold:
                why = "who receives a packet with a wrong checksum drops it without a word"
                return bad("a checksum does not hold", "IPv4's and TCP's checksums hold", why=why, state="checksum")
            if (after.source, after.source_port, after.payload) != (before.source, before.source_port, payload):
                return bad("more than the target has changed", "source and content as they were", state="too-much")
    return good("24 packets: each goes to a backend, checksums hold, source and content as they were")


def spread(reader: ClusterReader, given: Given) -> CheckResult:
    """Many clients are spread evenly."""
    with trial(program.pinned(reader, "balance"), _BACKENDS) as service:
        counts = Counter(service.numbers(range(given["client"], given["client"] + _CLIENTS)))
    fair = _CLIENTS / _BACKENDS
    shares = [counts[number] / fair for number in range(_BACKENDS)]
    told = f"{_CLIENTS} clients; of a fair share the backends have {', '.join(f'{one:.2f}' for one in shares)}"
    if all(_LEAST <= one <= _MOST for one in shares):
        return good(f"{_CLIENTS} clients, each backend has from {_LEAST} to {_MOST} of a fair share")
    return bad(told, f"from {_LEAST} to {_MOST}", why="a hash of the connection spreads", state="uneven")


def others(reader: ClusterReader, _: Given) -> CheckResult:
    """What is not for the service passes as it is, byte for byte."""
    found = program.pinned(reader, "balance")
    with trial(found, _BACKENDS) as service:
        frames = {
            "another address": tcp(target="192.0.2.200", target_port=service.port),
            "another port": tcp(target=service.address, target_port=service.port + 1),
            "UDP to the service": udp(target=service.address, target_port=service.port),
            "ping to the service": ping(target=service.address),
            "from the service's address": tcp(source=service.address, source_port=service.port),
            "ARP": ethernet(ETH_ARP, bytes(46)),
        }
        runs = found.run_all(list(frames.values()), "forward")
    wrong = [(told, ran) for told, ran in zip(frames, runs, strict=True) if ran.changed or ran.verdict != "TC_ACT_OK"]
    if wrong:
        told = "; ".join(f"{told}: {ran}" for told, ran in wrong[:3])
        return bad(told, "TC_ACT_OK, unchanged", why="only TCP to a service's address and port is its business")
    return good(f"unchanged: {', '.join(frames)}")


BALANCE = exercise("balance")
STATELESS = changed(BALANCE, ("known = bpf_map_lookup_elem(&connections, &flow);", "known = NULL;"))
_NOT_OURS = "if (!service)\n\t\treturn TC_ACT_OK;"
_LOOK_UP = "service = bpf_map_lookup_elem(&services, &flow.target);"
_OTHER_LOOK_UP = f"back.target = flow.target, back.target.port = bpf_htons(8080);\n\t{_LOOK_UP.replace('flow', 'back')}"
_ADDRESS = "bpf_l4_csum_replace(skb, TCP_CHECK, old->address, new->address, BPF_F_PSEUDO_HDR | 4);"
FORWARD = Task(
    id="forward",
    title="Look up, choose, rewrite",
    points=40,
    text="Write rewrite() and choose() of the program balance, and look up in its forward(): TCP packets to a "
    "service's address and port go to one of its living backends, with right checksums; clients are spread evenly; all "
    "else passes as it is.",
    draw=draw,
    checks=(
        Check("rewritten", "it is loaded, packets go to a backend, checksums hold", 30, "probe", rewritten),
        Check("spread", "clients are spread evenly", 25, "shape", spread, needs=("rewritten",)),
        Check("others", "what is not for the service passes as it is", 45, "invariant", others, needs=("spread",),
              negative=True),
    ),
    hints=(
        Hint(
            "rewritten",
            (
                "The header declares rewrite() and uses it in backward(): so it must be there.",
                "Each look-up gives a pointer or nothing: ask before you use it, and say what happens then.",
                "Without a service: TC_ACT_OK. Without a living backend: TC_ACT_SHOT.",
            ),
            state="absent",
        ),
        Hint(
            "rewritten",
            (
                "The packet goes where it should, or not yet; but TCP's checksum is not about TCP's header alone.",
                "TCP sums up a pseudo header with both addresses: BPF_F_PSEUDO_HDR says that this is such a change.",
                "bpf_l4_csum_replace for address (BPF_F_PSEUDO_HDR | 4) and port (2), bpf_l3_csum_replace for IPv4.",
            ),
            state="checksum",
        ),
        Hint(
            "rewritten",
            (
                "What does the packet look like now? balance.run(tcp(target=..., target_port=...), \"forward\").packet",
                "bpf_skb_store_bytes writes 4 bytes of address and 2 of port, at the offsets that rewrite() is given.",
                "rewrite(skb, IP_TARGET, TCP_TARGET, &flow.target, &backend->end)",
            ),
        ),
        Hint(
            "spread",
            (
                "Some backend has much more than its share. What does your choice depend on?",
                "hash_of(flow) is spread evenly over 32 bits, whatever addresses and ports look like.",
                "service->first + (hash_of(flow) + i) % service->count, for i from 0 on, until one is alive.",
            ),
        ),
        Hint(
            "others",
            (
                "The service works. Something that is not for it does not pass as it came.",
                "The key of services is address and port, flow.target.",
                "if (!service) return TC_ACT_OK; before anything is written.",
            ),
        ),
    ),
    solutions=(
        writes("without_memory", "No conntrack: the hash alone decides.", "balance", STATELESS),
        writes("next_living", "From the hash on, the next that is alive; remembered.", "balance", BALANCE),
        writes("by_weights", "The backend that draws the highest number.", "balance", teaching("balance_weights")),
    ),
    mutants=(
        Mutant(
            writes("no_pseudo_header", "TCP's checksum does not follow the address.", "balance",
                   changed(BALANCE, (_ADDRESS, ""))),
            "rewritten",
        ),
        Mutant(
            writes("old_port", "The port stays what it was.", "balance",
                   changed(BALANCE, ("bpf_skb_store_bytes(skb, port, &new->port, 2, 0);", ""))),
            "rewritten",
        ),
        Mutant(
            writes("always_the_first", "Its choice does not depend on the connection.", "balance",
                   changed(BALANCE, ("hash_of(flow)", "0"))),
            "spread",
        ),
        Mutant(
            writes("drops_the_rest", "What is for no service is dropped.", "balance",
                   changed(BALANCE, (_NOT_OURS, _NOT_OURS.replace("TC_ACT_OK", "TC_ACT_SHOT")))),
            "others",
        ),
        Mutant(
            writes("any_port", "It takes every port of the address for the service's.", "balance",
                   changed(BALANCE, (_LOOK_UP, _OTHER_LOOK_UP))),
            "others",
        ),
    ),
)  # fmt: skip
