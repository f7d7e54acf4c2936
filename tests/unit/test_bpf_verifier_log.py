"""The reason is found in logs as kernels of several years write them."""

from __future__ import annotations

from glasshive.bpf import verifier

LOG_6_18 = """\
0: R1=ctx() R10=fp0
; struct iphdr *ip = (void *)(long)skb->data; @ lesson.bpf.c:12
0: (61) r1 = *(u32 *)(r1 +76)         ; R1=pkt(r=0)
; return ip->ttl; @ lesson.bpf.c:14
1: (71) r0 = *(u8 *)(r1 +22)
invalid access to packet, off=22 size=1, R1(id=0,off=22,r=0)
R1 offset is outside of the packet
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""

LOG_6_1 = """\
arg#0 reference type('UNKNOWN ') size cannot be determined: -22
0: R1=ctx(off=0,imm=0) R10=fp0
; *count += 1;
7: (79) r1 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
verification time 83 usec
stack depth 8
processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""

LOG_LOOP = """\
; while (i != skb->mark) @ endless.bpf.c:14
10: (2d) if r2 > r1 goto pc-3
infinite loop detected at insn 10
cur state: R0=scalar(smin=0) R1=scalar() R10=fp0 fp-8=mmmm????
old state: R0=scalar(smin=0) R1=scalar() R10=fp0 fp-8=mmmm????
processed 29 insns (limit 1000000) max_states_per_insn 0 total_states 2 peak_states 2 mark_read 0
"""


def test_message_instruction_and_source_line() -> None:
    found = verifier.reason(LOG_6_18)
    assert found.message.endswith("R1 offset is outside of the packet")
    assert found.instruction == "1: r0 = *(u8 *)(r1 +22)"
    assert found.source == "return ip->ttl;"
    assert found.place == "lesson.bpf.c:14"
    assert "\n" not in str(found)


def test_kernel_without_file_names() -> None:
    found = verifier.reason(LOG_6_1)
    assert found.message == "R0 invalid mem access 'map_value_or_null'"
    assert found.source == "*count += 1;"
    assert found.place == ""


def test_register_states_are_not_the_reason() -> None:
    assert verifier.reason(LOG_LOOP).message == "infinite loop detected at insn 10"


def test_too_large_program_has_no_instruction() -> None:
    found = verifier.reason(
        "BPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns (limit 1000000)\n"
    )
    assert str(found) == "BPF program is too large. Processed 1000001 insn"


def test_empty_log() -> None:
    assert str(verifier.reason("")) == ""


def test_program_and_log_are_cut_out_of_libbpf_warnings() -> None:
    warnings = [
        "libbpf: prog 'from_pod': BPF program load failed: Permission denied\n",
        f"libbpf: prog 'from_pod': -- BEGIN PROG LOAD LOG --\n{LOG_6_18}-- END PROG LOAD LOG --\n",
        "libbpf: prog 'from_pod': failed to load: -13\n",
    ]
    assert verifier.failed_program(warnings) == "from_pod"
    assert verifier.verifier_log(warnings) == LOG_6_18
