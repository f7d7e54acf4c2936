"""The teaching programs of bpf/labs do what their first lines say: one counts, one is refused at the line it names."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from glasshive import bpf
from glasshive.errors import VerifierError

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
