"""The teaching programs of bpf/labs do what their first lines say: one counts, one is refused at the line it names."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from glasshive import bpf
from glasshive.bpf import bcc, describe
from glasshive.errors import NotFoundError, VerifierError
from glasshive.lab.programs import TeachingProgram

BPF = Path(__file__).resolve().parents[2] / "bpf"
MOST_LINES = 60

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def teaching_object(name: str) -> Path:
    subprocess.run(["make", "-s", "-C", str(BPF), f"build/{name}.bpf.o"], check=True, capture_output=True)
    return BPF / "build" / f"{name}.bpf.o"


def udp_packet(port: int) -> bytes:
    """A frame with an IPv4 and a UDP header and nothing in it that matters but the destination port."""
    ethernet = bytes(12) + b"\x08\x00"
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 17, 0, bytes(4), bytes(4))
    return ethernet + ip + struct.pack(">HHHH", 40000, port, 20, 0) + bytes(12)


def test_teaching_programs_are_short() -> None:
    for source in (BPF / "labs").glob("*.bpf.c"):
        assert len(source.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, source


def test_ports_are_counted() -> None:
    loaded = bpf.ObjectSpec.open(teaching_object("count_ports")).load()
    for port in (53, 53, 80):
        assert loaded.programs["count_ports"].test_run(udp_packet(port)).retval == 0
    cut_off = udp_packet(53)[:38]  # ends inside the UDP header: the proof of bounds fails, nothing is counted
    assert loaded.programs["count_ports"].test_run(cut_off).retval == 0
    keys, values = loaded.maps["ports"].items()
    assert {int(key): int(value) for key, value in zip(keys, values, strict=True)} == {53: 2, 80: 1}


def test_the_refusal_is_at_the_line_it_is_about() -> None:
    source = (BPF / "labs" / "no_bounds.bpf.c").read_text(encoding="utf-8").splitlines()
    wanted = next(number for number, line in enumerate(source, 1) if "refused here" in line)
    with pytest.raises(VerifierError, match="invalid access to packet") as caught:
        bpf.ObjectSpec.open(teaching_object("no_bounds")).load()
    assert re.search(rf"no_bounds\.bpf\.c:{wanted}\b", caught.value.summary)


def test_a_teaching_program_is_shown_and_takes_packets() -> None:
    with TeachingProgram.open("count_ports") as count:
        assert count.send(udp_packet(53)).retval == 0
        assert count.send(udp_packet(53), mark=7).retval == 0
        assert [row["value"] for row in count.rows("ports")] == [2]
        function = count.shown.functions[0]
        source = (BPF / "labs" / "count_ports.bpf.c").read_text(encoding="utf-8").splitlines()
        proof = next(number for number, line in enumerate(source, 1) if "(udp + 1) > end" in line)
        assert any(step.line == proof and "goto" in step.text for step in function.translated)
        assert any(step.line == proof and "pkt" in step.state for step in function.walk)
        assert function.statistics["walked"] >= len({step.number for step in function.walk})
        with pytest.raises(NotFoundError, match=r"no map 'port' \(ports\)"):
            count.rows("port")
    with pytest.raises(NotFoundError, match="has been unloaded"):
        count.send(udp_packet(53))


def test_a_refused_teaching_program_is_a_value() -> None:
    refused = TeachingProgram.open("no_bounds")
    assert refused.refused
    assert refused.shown.refused is not None
    assert "refused here" in refused.shown.line(refused.shown.refused.line)
    assert "R1 offset is outside of the packet" in refused.shown.functions[0].log
    with pytest.raises(NotFoundError, match="was refused by the verifier"):
        refused.send(udp_packet(53))


def test_an_unknown_teaching_program_lists_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="count_ports"):
        TeachingProgram.open("count_port")


def test_a_cell_is_described_line_by_line() -> None:
    if not bcc.probe.tools._bcc():
        pytest.skip("bcc is not installed (apt-get install python3-bpfcc)")
    cell = "BPF_HASH(counts, u32, u64);\nint drop_all(struct xdp_md *ctx)\n{\n    return XDP_DROP;\n}\n"
    with bcc.run(cell, name="cell", first_line=2) as running:
        shown = describe.running_cell(running, 2)
    assert {step.line for step in shown.functions[0].translated} == {5}
    assert shown.maps[0].key_bytes == 4
