"""From an object file to programs and maps in the kernel: constants, loading, pins, test runs, refusals."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import bpf_objects
from glasshive import bpf
from glasshive.bpf import inspect
from glasshive.errors import BpfError, MapIncompatibleError, NotFoundError, UsageError, VerifierError

pytestmark = pytest.mark.root
PACKET = bytes(64)
KEY = bytes([1]) + bytes(15)


@pytest.fixture
def spec() -> bpf.ObjectSpec:
    return bpf.ObjectSpec.open(bpf_objects.compiled("slice"))


@pytest.fixture
def pins() -> Iterator[Path]:
    bpf.mount_bpffs()
    folder = Path(f"/sys/fs/bpf/glasshive-test-object-{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_spec_says_what_the_file_says(spec: bpf.ObjectSpec) -> None:
    assert {name: each.type.name for name, each in spec.programs.items()} == {
        "mark_packet": "SCHED_CLS",
        "drop_packet": "SCHED_CLS",  # its section, tcx/egress, is newer than libbpf 1.1
        "shrink": "XDP",
    }
    prefixes = spec.maps["prefixes"]
    assert (prefixes.type, prefixes.key_size, prefixes.value_size) == (bpf.MapType.LPM_TRIE, 20, 4)
    assert set(spec.rodata) == {"config", "verdict", "weights"}
    assert spec.rodata["weights"]["elements"].tolist() == [1, 2, 3, 4]


def test_a_forked_process_changes_its_own_constants_only(spec: bpf.ObjectSpec) -> None:
    child = os.fork()
    if child == 0:
        spec.rodata["verdict"] = 7
        spec.load().close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with spec.load() as obj:
        assert obj.programs["mark_packet"].test_run(PACKET, bpf.skb_context(priority=5)).retval != 7


def test_constants_reach_the_program(spec: bpf.ObjectSpec) -> None:
    spec.rodata["config"] = {"mark": 77, "node": {"words": [0, 0, 0xFFFF, 0x0A000001]}, "mac": b"\x02\0\0\0\0\1"}
    spec.rodata["verdict"] = 1
    assert spec.rodata["config"]["node"]["bytes"].tobytes().hex() == "00000000000000000000ffff0a000001"
    with spec.load() as obj:
        run = obj.programs["mark_packet"].test_run(PACKET, bpf.skb_context(priority=5))
        assert run.retval == 1
        assert np.frombuffer(run.ctx_out, "u4")[2] == 77
        assert obj.maps[".bss"].get(0)["runs"] == 1
    spec.rodata["verdict"] = 2  # the same spec, loaded again
    with spec.load() as again:
        assert again.programs["mark_packet"].test_run(PACKET).retval == 2


def test_unknown_constants_are_named(spec: bpf.ObjectSpec) -> None:
    with pytest.raises(NotFoundError, match=r"no constant 'confix' \(constants are config, verdict, weights\)"):
        spec.rodata["confix"] = 1
    with pytest.raises(UsageError, match=r"variable config: no field marc \(fields are mark, port_min"):
        spec.rodata["config"] = {"marc": 1}
    with pytest.raises(NotFoundError, match="no program nothing"):
        spec.load(only=["nothing"])


def test_only_some_programs(spec: bpf.ObjectSpec) -> None:
    with spec.load(only=["shrink"]) as obj:
        assert list(obj.programs) == ["shrink"]
        assert obj.programs["shrink"].test_run(PACKET).data_out == PACKET[:-4]


def test_pins_are_made_when_asked_and_reused(spec: bpf.ObjectSpec, pins: Path) -> None:
    with spec.load(pins) as first:
        assert first.reused == frozenset()
        assert not list(pins.iterdir())
        assert first.pin_maps(pins) == ["entries", "per_cpu", "prefixes", "table"]
        first.maps["entries"].update(KEY, {"packets": 41})
        with spec.load(pins) as second:
            assert second.reused == {"entries", "per_cpu", "prefixes", "table"}
            assert second.maps["entries"].id == first.maps["entries"].id
            second.programs["mark_packet"].test_run(PACKET)
        assert first.maps["entries"].get(KEY)["packets"] == 42
    with bpf.Map.open(pins / "entries") as opened:
        assert opened.value_dtype.names == ("packets", "addr_be", "port_be", "delta", "color", "left", "right")
        assert opened.get(KEY)["packets"] == 42
    assert [(row.path.name, row.kind) for row in inspect.pins(pins)] == [
        ("entries", "map"), ("per_cpu", "map"), ("prefixes", "map"), ("table", "map"),
    ]  # fmt: skip


def test_pin_of_another_size_is_refused(spec: bpf.ObjectSpec, pins: Path) -> None:
    with spec.load() as obj:
        obj.pin_maps(pins, only=["entries"])
    spec.maps["entries"].max_entries = 2048
    with pytest.raises(MapIncompatibleError, match="max_entries is 1024, the object wants 2048"):
        spec.load(pins)


def test_program_is_opened_by_its_pin(spec: bpf.ObjectSpec, pins: Path) -> None:
    with spec.load(only=["drop_packet"]) as obj:
        obj.programs["drop_packet"].pin(pins / "drop")
        number = obj.programs["drop_packet"].id
    with bpf.Program.open(pins / "drop") as opened:
        assert (opened.id, opened.name) == (number, "drop_packet")
        assert opened.test_run(PACKET).retval == 2
    assert inspect.pins(pins) == [(pins / "drop", "program", number)]


def test_pin_outside_of_bpffs_says_so(spec: bpf.ObjectSpec, tmp_path: Path) -> None:
    with spec.load(only=["shrink"]) as obj, pytest.raises(BpfError, match="not in a BPF file system"):
        obj.programs["shrink"].pin(tmp_path / "shrink")


def test_program_facts(spec: bpf.ObjectSpec) -> None:
    with spec.load() as obj:
        program = obj.programs["mark_packet"]
        assert (program.name, program.type) == ("mark_packet", bpf.ProgType.SCHED_CLS)
        assert (program.id, "mark_packet", "sched_cls", program.tag) in inspect.programs()
        assert obj.maps["entries"].id in program.info.map_ids
        assert obj.maps["entries"].id in {row.id for row in inspect.maps()}
        with bpf.Program.by_id(program.id) as same:
            assert same.tag == program.tag
        times = program.bench(PACKET, 50)
        assert times.shape == (50,)
        assert 0 < np.median(times) < 1_000_000


def test_nothing_stays_after_close(spec: bpf.ObjectSpec) -> None:
    with spec.load() as obj:
        ids = {program.id for program in obj.programs.values()}
    # The kernel frees programs a moment after the last reference.
    deadline = time.monotonic() + 60
    while ids & {row.id for row in inspect.programs()}:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("program", "message", "source"),
    [
        ("packet_bounds", "R1 offset is outside of the packet", "return ip->ttl;"),
        ("null_value", "R0 invalid mem access 'map_value_or_null'", "*count += 1;"),
        ("endless_loop", "infinite loop detected", "while (i != skb->mark)"),
        ("leaked_record", "Unreleased reference", "if (!record || skb->mark == 7)"),
        ("map_value_bounds", "R0 unbounded memory access", "return bytes ? bytes[skb->mark] : 0;"),
        ("read_only_context", "invalid bpf_context access", "*(volatile __u32 *)&skb->len = 0;"),
        ("stack_too_large", "invalid write to stack", "asm volatile"),
    ],
)
def test_verifier_error_shows_the_line_that_matters(program: str, message: str, source: str) -> None:
    with pytest.raises(VerifierError) as caught:
        bpf.ObjectSpec.open(bpf_objects.compiled(f"refused/{program}")).load()
    text = str(caught.value)
    assert text.startswith(f"the verifier refused program {program}: ")
    assert message in text
    assert source in text
    assert "\n" not in text
    assert "processed" not in text
    assert "processed" in caught.value.log
    assert caught.value.errno > 0


def test_helper_of_another_program_type() -> None:
    with pytest.raises(VerifierError, match="bpf_skb_pull_data"):
        bpf.ObjectSpec.open(bpf_objects.compiled("refused/wrong_helper")).load()


def test_padding_in_a_prefix_key_is_refused() -> None:
    with pytest.raises(UsageError, match="padding between prefix length and address"):
        bpf.ObjectSpec.open(bpf_objects.compiled("refused/padded_prefix")).load()


def test_files_that_are_no_objects(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no BPF object"):
        bpf.ObjectSpec.open(tmp_path / "absent.bpf.o")
    broken = tmp_path / "broken.bpf.o"
    for content in (b"", b"not an ELF file", b"\x7fELF" + bytes(100)):
        broken.write_bytes(content)
        with pytest.raises(BpfError, match="not a BPF object"):
            bpf.ObjectSpec.open(broken)


def test_libbpf_does_not_speak_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VerifierError):
        bpf.ObjectSpec.open(bpf_objects.compiled("refused/packet_bounds")).load()
    assert capfd.readouterr() == ("", "")
