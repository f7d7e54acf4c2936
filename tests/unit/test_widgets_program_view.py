"""A program as text and view, from verifier logs and bpftool listings as the kernel prints them. No root."""

from __future__ import annotations

import json

import pytest

from glasshive.bpf import describe, listing, walk
from glasshive.errors import CompileError, VerifierError
from glasshive.model.program_text import Function, Instruction, MapFacts, ProgramText, Refused
from glasshive.widgets import ProgramView, program_view
from glasshive.widgets.view import STATIC

SOURCE = ("int f(struct xdp_md *ctx)", "{", "\tint one = 1;", "\treturn one;", "}")
LOG = """func#0 @0
Live regs before insn:
      0: .1........ (b7) r0 = 1
0: R1=ctx() R10=fp0
; int one = 1; @ lesson.bpf.c:3
0: (b7) r0 = 1                        ; R0=1
;  @ lesson.bpf.c:0
1: (bf) r2 = r0                       ; R0=1 R2=1
; return one; @ lesson.bpf.c:4
2: (95) exit
verification time 22 usec
stack depth 0
processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
"""
LISTED = [
    {"proto": "int f(struct xdp_md * ctx)", "src": "int one = 1;", "line_num": 3, "disasm": "(18) r0 = map[id:7]"},
    {"disasm": "(bf) r2 = r0"},
    {"src": "return one;", "line_num": 4, "disasm": "(95) exit"},
]
MAP = MapFacts("ports", "hash", 2, 8, 1024)
LOADED = ProgramText(
    "lesson",
    "bpf/labs/lesson.bpf.c",
    SOURCE,
    1,
    (Function("f", "xdp", "xdp", listing.read(LISTED), walk.steps(LOG), walk.statistics(LOG), LOG),),
    (MAP,),
)
REFUSED = ProgramText("lesson", "this cell", SOURCE, 2, (), (), Refused("verifier", "R0 !read_ok", 5))


def test_a_walk_is_read_with_lines_and_states() -> None:
    assert walk.steps(LOG) == (
        Instruction(0, "r0 = 1", 3, "R0=1"),
        Instruction(1, "r2 = r0", 3, "R0=1 R2=1"),  # made up by the compiler: it stays with the line before
        Instruction(2, "exit", 4),
    )
    assert walk.statistics(LOG) == {
        "walked": 3, "limit": 1_000_000, "max_states_per_insn": 0, "total_states": 1, "peak_states": 1, "mark_read": 0,
    }  # fmt: skip
    assert walk.statistics("") == {}


def test_older_kernels_name_no_line_so_it_is_looked_for() -> None:
    older = "; return one;\n0: (95) exit\n; never written\n1: (95) exit\n"
    assert [step.line for step in walk.steps(older, SOURCE, 2)] == [5, 5]


def test_a_listing_counts_as_jumps_do() -> None:
    found = listing.read(LISTED)
    assert [(step.number, step.line) for step in found] == [(0, 3), (2, 3), (3, 4)]
    assert found[0].text == "r0 = map[id:7]"


def test_lines_of_a_rewritten_text_are_read_off_its_marks() -> None:
    rows = [{"src": "return 1; /*@9*/", "line_num": 40, "disasm": "(95) exit"}]
    assert listing.read(rows, lambda text: int(text.split("@")[1][:1]))[0].line == 9


def test_the_text_twin_of_what_was_loaded_holds_no_instruction() -> None:
    assert program_view.text(LOADED) == (
        "lesson: loaded, from bpf/labs/lesson.bpf.c\n"
        "  program f (xdp, xdp): 3 instructions\n"
        "  map ports (hash): 2-byte key, 8-byte value, room for 1024"
    )


def test_the_text_twin_of_a_refusal_marks_the_line() -> None:
    assert program_view.text(REFUSED) == (
        "lesson: refused by the verifier, from this cell\n  R0 !read_ok\n"
        "      3 | {\n      4 |     int one = 1;\n  >   5 |     return one;\n      6 | }"
    )


def test_the_listing_has_instructions_below_their_lines() -> None:
    lines = program_view.listing(LOADED).splitlines()
    at = lines.index("    3      int one = 1;")
    assert lines[at + 1 : at + 3] == ["           0: r0 = map[id:7]", "           2: r2 = r0"]
    refused = program_view.listing(REFUSED).splitlines()
    assert ">   5      return one;" in refused


def test_the_browser_gets_plain_json() -> None:
    shown = json.loads(json.dumps(program_view.picture(LOADED)))
    assert shown["functions"][0]["translated"][0] == [0, "r0 = map[id:7]", 3, ""]
    assert shown["maps"] == [["ports", "hash", 2, 8, 1024]]
    assert ProgramView(LOADED).listing() == program_view.listing(LOADED)
    assert (STATIC / "program_view.js").is_file()


@pytest.mark.parametrize(
    ("error", "by", "line"),
    [
        (VerifierError("f", "R0 !read_ok at instruction 0: exit; line 5: return one;", "log"), "verifier", 5),
        (CompileError("line 4: use of undeclared identifier 'x'\n  int one = x;\n            ^"), "compiler", 4),
        (CompileError("the C text does not compile: no reason given"), "compiler", 0),
    ],
)
def test_a_cells_refusal_knows_its_line(error: CompileError | VerifierError, by: str, line: int) -> None:
    shown = describe.refused_cell("lesson", "\n".join(SOURCE), error, 2)
    assert shown.refused is not None
    assert (shown.refused.by, shown.refused.line) == (by, line)
