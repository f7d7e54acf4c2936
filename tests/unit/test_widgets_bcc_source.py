"""Marks in a cell's C text, and the line that a complaint is about: no kernel needed."""

from __future__ import annotations

import ctypes

import pytest

from glasshive.bpf import bcc_tables
from glasshive.bpf.bcc_source import Source, mark
from glasshive.errors import UsageError
from glasshive.widgets import magic

TEXT = """#include <linux/sched.h>
BPF_HASH(counts, u32, u64);  // one per process
/* a comment
   of two lines */
#define TWICE(x) \\
    ((x) * 2)
int f(struct xdp_md *ctx) {
    char s[] = "/* not a comment";
    return TWICE(1);
}
"""


def test_marks_stand_only_where_a_comment_may() -> None:
    lines = mark(TEXT, 2).splitlines()
    assert lines[0] == "#include <linux/sched.h>"
    assert lines[1].endswith("/*@3*/")
    assert lines[2:4] == ["/* a comment", "   of two lines */"]
    assert lines[4] == "#define TWICE(x) \\"
    assert lines[6].endswith("/*@8*/")
    assert lines[7].endswith('comment"; /*@9*/')
    assert lines[8].endswith("/*@10*/")


def test_marks_are_taken_out_again() -> None:
    source = Source(TEXT, 2)
    assert source.unmark(source.marked) == TEXT


@pytest.mark.parametrize(
    ("declaration", "kind"),
    [
        ("int f(struct xdp_md *ctx)", "xdp"),
        ("int f ( const struct __sk_buff * skb )", "sched_cls"),
        ("int f(struct pt_regs *ctx)", "kprobe"),
        ("int f(void *ctx)", "kprobe"),
    ],
)
def test_program_types_are_read_off_the_context(declaration: str, kind: str) -> None:
    assert Source(f"{declaration} {{ return 0; }}", 1).kind_of("f") == kind


def test_a_compiler_complaint_shows_the_cells_own_line() -> None:
    log = "/virtual/main.c:9:12: error: use of undeclared identifier 'X'\n    return TWICE(1); /*@10*/\n"
    text = Source(TEXT, 2).compiler_complaint(log)
    assert text == "line 10: use of undeclared identifier 'X'\n      return TWICE(1);\n             ^"


def test_a_verifier_complaint_shows_the_cells_own_line() -> None:
    log = (
        "0: R1=ctx() R10=fp0\n"
        "; return bpf_map_lookup_elem(1); /*@10*/ @ main.c:21\n"
        "8: (79) r1 = *(u64 *)(r0 +0)\n"
        "R0 invalid mem access 'map_value_or_null'\n"
        "processed 8 insns (limit 1000000) max_states_per_insn 0\n"
        "\nHINT: The 'map_value_or_null' error can happen if ...\n"
    )
    text = Source(TEXT, 2).verifier_complaint(log)
    assert text == (
        "R0 invalid mem access 'map_value_or_null' at instruction 8: r1 = *(u64 *)(r0 +0); line 10: return TWICE(1);"
    )


def test_hooks_that_not_every_kernel_has_are_named() -> None:
    assert [need for need, _ in Source("int kprobe__tcp_connect(void *c) {}", 1).needs()] == ["attach:kprobe"]
    assert [need for need, _ in Source("LSM_PROBE(file_open, ...)", 1).needs()] == ["attach:lsm"]
    assert Source("RAW_TRACEPOINT_PROBE(x) {}", 1).needs() == []


class _Name(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint32), ("comm", ctypes.c_char * 16), ("parts", ctypes.c_uint16 * 2)]


def test_structs_become_columns() -> None:
    value = _Name(7, b"sh", (1, 2))
    assert bcc_tables.flatten(value, "") == {"pid": 7, "comm": "sh", "parts": [1, 2]}
    assert bcc_tables.flatten(value, "key") == {"key.pid": 7, "key.comm": "sh", "key.parts": [1, 2]}
    assert bcc_tables.flatten(ctypes.c_uint64(3), "value") == {"value": 3}


def test_per_cpu_values_have_a_column_each_and_a_sum() -> None:
    class Table:
        def items(self) -> list[tuple[object, object]]:
            return [(ctypes.c_uint32(1), (ctypes.c_uint64 * 2)(3, 4))]

    row = bcc_tables.rows(Table(), "percpu_array")[0]
    assert row == {"key": 1, "cpu0": 3, "cpu1": 4, "value": 7}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", (set(), "bpf")),
        ("execs", (set(), "execs")),
        ("--refused", ({"--refused"}, "bpf")),
        ("execs --refused", ({"--refused"}, "execs")),
        ("--object mine --refused", ({"--refused", "--object"}, "mine")),
    ],
)
def test_the_magics_own_line(line: str, expected: tuple[set[str], str]) -> None:
    assert magic._arguments(line) == expected


@pytest.mark.parametrize("line", ["two names", "--other", "not-a-name"])
def test_the_magic_says_what_it_understands(line: str) -> None:
    with pytest.raises(UsageError, match=r"--refused"):
        magic._arguments(line)
