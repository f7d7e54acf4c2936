"""Programs that learners write: compiled, loaded with few capabilities, pinned, attached, found, and gone after."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from glasshive.bpf import inspect
from glasshive.bpf.privilege import LEAST, with_only
from glasshive.bpf.syscall import CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, has_capabilities
from glasshive.cluster.embedded.paths import BPFFS_ROOT, ClusterPaths
from glasshive.errors import CompileError, NotFoundError, UsageError, VerifierError
from glasshive.inventory import Inventory
from glasshive.lab.packets import tcp, udp
from glasshive.lab.pinned import Pinned, folder_of
from glasshive.lab.wire import Wire
from glasshive.lab.workshop import Workshop
from glasshive.net import netns

CLUSTER = f"track-{os.getpid()}"
LAB = "lab-17"
HEAD = '#include "labs/lesson.h"\n'
DROP_UDP = (
    HEAD
    + """
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} dropped SEC(".maps");

SEC("tc")
int gate(struct __sk_buff *skb)
{
	__u8 protocol = 0;
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&dropped, &zero);

	bpf_skb_load_bytes(skb, 23, &protocol, 1);
	if (protocol != IPPROTO_UDP)
		return TC_ACT_OK;
	if (count)
		__sync_fetch_and_add(count, 1);
	return TC_ACT_SHOT;
}
"""
)
NO_PROOF = HEAD + 'SEC("tc")\nint bad(struct __sk_buff *skb)\n{\n\treturn *(__u8 *)(long)skb->data;\n}\n'
STACK = (
    HEAD
    + """
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, __u64);
} table SEC(".maps");

SEC("tc")
int bad(struct __sk_buff *skb)
{
	struct {
		__u8 one;
		__u32 two;
	} key;

	key.one = skb->len;
	key.two = skb->mark;
	return bpf_map_lookup_elem(&table, &key) != 0;
}
"""
)

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture
def wire() -> Iterator[Wire]:
    ClusterPaths(CLUSTER).run.mkdir(parents=True)
    made = Wire(CLUSTER, LAB)
    try:
        made.make()
        yield made
    finally:
        made.remove()
        shutil.rmtree(ClusterPaths(CLUSTER).run)


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop(CLUSTER, LAB, Wire(CLUSTER, LAB).find)
    yield made
    made.clear()
    for folder in (BPFFS_ROOT / CLUSTER, ClusterPaths(CLUSTER).run):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def test_a_text_becomes_a_program_that_others_find(workshop: Workshop) -> None:
    made = workshop.write("gate", DROP_UDP)
    assert (made.programs, made.maps) == (["gate"], ["dropped"])
    found = Pinned(folder_of(CLUSTER, LAB) / "gate")
    assert [found.run(frame).verdict for frame in (udp(), tcp())] == ["TC_ACT_SHOT", "TC_ACT_OK"]
    assert found.rows("dropped") == [{"key": 0, "value": 1}]
    assert "program gate (sched_cls)" in repr(made)
    assert "0: " in made.walk()


def test_what_is_written_again_begins_anew(workshop: Workshop) -> None:
    workshop.write("gate", DROP_UDP).run(udp())
    assert workshop.write("gate", DROP_UDP).rows("dropped") == [{"key": 0, "value": 0}]


def test_a_refused_text_leaves_nothing(workshop: Workshop) -> None:
    workshop.write("gate", DROP_UDP)
    with pytest.raises(VerifierError, match=r"invalid access to packet.*; line 5: return \*\(__u8"):
        workshop.write("gate", NO_PROOF)
    assert workshop.names() == []
    with pytest.raises(NotFoundError, match="no program gate is loaded"):
        workshop.program("gate")


def test_the_verifier_is_the_strict_one(workshop: Workshop) -> None:
    """With CAP_PERFMON the kernel would read stack that nobody has written."""
    with pytest.raises(VerifierError, match="invalid read from stack"):
        workshop.write("stack", STACK)


def test_a_text_that_does_not_compile_names_the_readers_line(workshop: Workshop) -> None:
    with pytest.raises(CompileError, match=r"line 4: use of undeclared identifier 'y'\n.*return y") as caught:
        workshop.write("gate", HEAD + "\nint x(void) { return y; }\n", first_line=2)
    assert caught.value.message.splitlines()[2].index("^") == caught.value.message.splitlines()[1].index("y")
    assert workshop.names() == []


@pytest.mark.parametrize("name", ["../gate", "Gate", "", "a" * 16, "a b", "1gate"])
def test_a_bad_name_is_refused_before_anything_is_made(workshop: Workshop, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a program"):
        workshop.write(name, DROP_UDP)
    assert not workshop.folder.exists()


def test_attached_it_decides_about_real_packets(workshop: Workshop, wire: Wire) -> None:
    gate = workshop.write("gate", DROP_UDP)
    cable = workshop.write("cable", f'{HEAD}SEC("tc")\nint cable(struct __sk_buff *skb)\n{{\n'
                           "\treturn bpf_redirect(skb->ifindex == 11 ? 12 : 11, 0);\n}\n")  # fmt: skip
    assert wire.send().arrived == 0  # nothing joins the two ends yet
    cable.attach("mid/to-left", "tcx ingress")
    assert wire.send(count=3).arrived == 3
    for _ in range(2):  # again puts it in its own place
        gate.attach("right", "tcx ingress")
    assert [row["place"] for row in gate.links()] == ["right_tcx_ingress"]
    assert wire.send(count=2).arrived == 0
    assert gate.rows("dropped") == [{"key": 0, "value": 2}]
    gate.detach()
    assert wire.send(count=2).arrived == 2


def test_several_may_send_at_once(workshop: Workshop, wire: Wire) -> None:
    """A panel and a notebook may both ask for a check: none takes the other's port or datagrams."""
    cable = workshop.write("cable", f'{HEAD}SEC("tc")\nint cable(struct __sk_buff *skb)\n{{\n'
                           "\treturn bpf_redirect(12, 0);\n}\n")  # fmt: skip
    cable.attach("mid/to-left", "tcx ingress")
    with ThreadPoolExecutor(max_workers=4) as pool:
        sent = list(pool.map(lambda _: wire.send(count=5, wait_s=5.0), range(12)))
    assert [one.arrived for one in sent] == [5] * 12


def test_clearing_leaves_no_link_no_pin_and_no_file(workshop: Workshop, wire: Wire) -> None:
    gate = workshop.write("gate", DROP_UDP)
    gate.attach("right", "tcx ingress")
    with gate.program() as held:
        number = held.id
    workshop.clear()
    assert not workshop.pins.exists()
    assert not workshop.folder.exists()
    assert number not in {one.program_id for one in inspect.links()}


@pytest.mark.parametrize(
    ("place", "hook", "told"),
    [("left", "tc", "there is no hook"), ("up", "xdp", "has no place 'up'")],
)
def test_a_wrong_place_is_named(workshop: Workshop, wire: Wire, place: str, hook: str, told: str) -> None:
    gate = workshop.write("gate", DROP_UDP)
    with pytest.raises((UsageError, NotFoundError), match=told):
        gate.attach(place, hook)  # type: ignore[arg-type]
    assert gate.links() == []


def test_the_wire_is_made_once_and_goes_whole(wire: Wire) -> None:
    names = [wire.namespace(where) for where in ("left", "mid", "right")]
    before = [netns.path_of(name).stat().st_ino for name in names]
    wire.make()
    assert [netns.path_of(name).stat().st_ino for name in names] == before
    netns.delete(names[1])  # as after a crash
    wire.make()
    assert wire.up
    wire.remove()
    assert not [name for name in names if netns.exists(name)]
    assert Inventory(ClusterPaths(CLUSTER).inventory_file).entries() == []


def test_few_capabilities_are_a_matter_of_one_thread() -> None:
    seen = with_only(LEAST, lambda: [has_capabilities(one) for one in (CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN)])
    assert seen == [True, False, False]
    assert has_capabilities(CAP_SYS_ADMIN)
