"""bcc on the kernel the tests run on, through the header tree made from BTF, and the %%bpf magic around it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glasshive.bpf import bcc, kernel_headers, probe
from glasshive.bpf.probe import Answer
from glasshive.errors import CapabilityError, CompileError, NotFoundError, VerifierError

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not bcc.probe.tools._bcc(), reason="bcc is not installed (apt-get install python3-bpfcc)"),
]

COUNTER = """#include <linux/sched.h>
#include <linux/never_heard_of.h>
struct who { u32 pid; char comm[TASK_COMM_LEN]; };
BPF_HASH(counts, struct who, u64);
BPF_PERCPU_ARRAY(total, u64, 1);
BPF_RINGBUF_OUTPUT(ring, 4);
BPF_PERF_OUTPUT(perf);
RAW_TRACEPOINT_PROBE(sched_process_exec)
{
    struct who who = {};
    who.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&who.comm, sizeof(who.comm));
    counts.increment(who);
    total.increment(0);
    ring.ringbuf_output(&who, sizeof(who), 0);
    perf.perf_submit(ctx, &who, sizeof(who));
    return 0;
}
TRACEPOINT_PROBE(sched, sched_process_exit) { return 0; }
int drop_all(struct xdp_md *ctx) { return XDP_DROP; }
"""
NO_TEST_FOR_NULL = """BPF_HASH(counts, u32, u64);
RAW_TRACEPOINT_PROBE(sched_process_exec)
{
    u32 pid = 1;
    u64 *value = counts.lookup(&pid);
    *value += 1;
    return 0;
}
"""


@pytest.fixture
def counter() -> Iterator[bcc.Running]:
    with bcc.run(COUNTER, name="counter") as running:
        yield running


def test_maps_and_events_are_tables(counter: bcc.Running) -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    frame = counter.frame("counts")
    mine = frame[frame.pid == child.pid]
    assert mine.value.tolist() == [1]
    assert mine.comm.tolist() == ["true"]
    assert counter.frame("total").value.iloc[0] >= 1
    for queue in ("ring", "perf"):
        assert child.pid in counter.frame(queue).pid.tolist(), queue
    counter.clear("counts")
    counter.clear("ring")
    assert child.pid not in [row.get("pid") for row in counter.rows("counts")]


def test_what_runs_is_told(counter: bcc.Running) -> None:
    text = repr(counter)
    assert "raw_tracepoint__sched_process_exec (raw_tracepoint): attached to sched_process_exec" in text
    assert "drop_all (xdp): loaded, not attached, 2 instructions" in text
    assert "map counts (hash)" in text
    assert "exit" in counter.instructions("drop_all")
    with pytest.raises(NotFoundError, match="counts"):
        counter.rows("no_such_map")


def test_closing_unloads(counter: bcc.Running) -> None:
    fds = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with bcc.run(COUNTER) as second:
        assert not second.closed
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == fds
    second.close()
    assert repr(second) == "bpf: unloaded"
    with pytest.raises(NotFoundError, match="unloaded"):
        second.rows("counts")


def test_the_verifiers_complaint_names_the_line() -> None:
    with pytest.raises(VerifierError) as caught:
        bcc.run(NO_TEST_FOR_NULL, first_line=2)
    assert "invalid mem access 'map_value_or_null'" in caught.value.summary
    assert caught.value.summary.endswith("line 7: *value += 1;")
    assert "/*@" not in caught.value.log
    assert "processed" in caught.value.log


def test_the_compilers_complaint_names_the_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CompileError, match="line 7: use of undeclared identifier 'valeu'"):
        bcc.run(NO_TEST_FOR_NULL.replace("*value +=", "*valeu +="), first_line=2)
    assert capfd.readouterr().err == ""


def test_a_hook_the_kernel_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = probe.Machine("test", {"attach:kprobe": probe.Finding("attach:kprobe", Answer.NOT, "not built in")})
    monkeypatch.setattr(probe, "machine", lambda: lacking)
    with pytest.raises(CapabilityError, match=r"kprobe__.*not built in"):
        bcc.run("int kprobe__tcp_connect(struct pt_regs *ctx) { return 0; }")


def test_the_header_tree_is_made_once(tmp_path: Path) -> None:
    tree = kernel_headers.ensure_tree(cache=tmp_path)
    made = (tree / "include" / "linux" / "kconfig.h").stat().st_mtime_ns
    assert kernel_headers.ensure_tree(cache=tmp_path) == tree
    assert (tree / "include" / "linux" / "kconfig.h").stat().st_mtime_ns == made
    source = "#include <linux/odd.h>\n#include <../x.h>\n#include <linux/bpf.h>\n"
    assert kernel_headers.add_stubs(tree, source) == ["linux/odd.h"]
    assert [one for one in tmp_path.iterdir() if one != tree] == []


def shell() -> Any:
    from IPython.core.interactiveshell import InteractiveShell

    made = InteractiveShell.instance()
    made.run_line_magic("load_ext", "glasshive")
    return made


def test_the_magic_leaves_a_variable_and_unloads_on_a_second_run() -> None:
    ip = shell()
    assert ip.run_cell("%%bpf counter\n" + COUNTER).success
    first = ip.user_ns["counter"]
    assert first.maps["counts"] == "hash"
    assert ip.run_cell("%%bpf counter\n" + COUNTER).success
    assert first.closed
    assert not ip.user_ns["counter"].closed
    ip.run_line_magic("unload_ext", "glasshive")
    assert ip.user_ns["counter"].closed


def test_the_magic_shows_a_refusal_that_was_meant() -> None:
    ip = shell()
    assert ip.run_cell("%%bpf --refused broken\n" + NO_TEST_FOR_NULL).success
    assert repr(ip.user_ns["broken"]).startswith("broken: refused by the verifier")
    assert "line 7: *value += 1;" in repr(ip.user_ns["broken"])
    accepted = ip.run_cell("%%bpf --refused broken\n" + COUNTER)
    assert "meant to be refused" in str(accepted.error_in_exec)
    failed = ip.run_cell("%%bpf broken\n" + NO_TEST_FOR_NULL)
    assert isinstance(failed.error_in_exec, VerifierError)
