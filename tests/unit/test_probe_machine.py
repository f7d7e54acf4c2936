"""Probe answers, their cache and the advice drawn from them, without touching the kernel."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from glasshive.bpf import doctor, probe
from glasshive.bpf.probe import Answer, Finding, Machine, cache, mend, tools
from glasshive.bpf.probe.attempts import answer as attempt_answer
from glasshive.errors import CapabilityError, UsageError


def machine(**answers: str) -> Machine:
    """Give a machine where everything is supported but what is named (``attach_tcx="not"``)."""
    given = {name.replace("_", ":", 1): Answer(text) for name, text in answers.items()}
    names = {need for one in doctor.FEATURES for need in (*one.needs, *one.better)}
    flat = {one for need in names for one in probe.alternatives(need)}
    found = {name: Finding(name, given.get(name, Answer.SUPPORTED), "seen in a test") for name in flat | set(given)}
    return Machine("6.1.0-test", found)


def test_a_need_is_met_by_any_of_its_alternatives() -> None:
    here = machine(attach_tcx="not")
    assert not here.has("attach:tcx")
    assert here.has("attach:tcx|attach:clsact")
    assert here.missing(["attach:tcx", "attach:clsact", "link:veth"]) == ["attach:tcx"]
    assert "seen in a test" in here.why("attach:tcx|attach:clsact")


def test_an_unknown_capability_lists_near_ones() -> None:
    with pytest.raises(UsageError, match="attach:clsact"):
        machine().has("attach:clsat")


@pytest.mark.parametrize(
    ("number", "privileged", "expected"),
    [
        (errno.EINVAL, True, "not"),
        (errno.ENOENT, True, "not"),
        (524, False, "not"),
        (errno.EPERM, True, "not"),
        (errno.EPERM, False, "inconclusive"),
        (errno.ENOMEM, True, "inconclusive"),
        (errno.EBUSY, True, "inconclusive"),
    ],
)
def test_refusals_become_answers(monkeypatch: pytest.MonkeyPatch, number: int, privileged: bool, expected: str) -> None:
    monkeypatch.setattr(attempt_answer, "privileged", lambda: privileged)
    verdict, reason = attempt_answer.judge(OSError(number, "text"))
    assert verdict == expected
    assert reason


def test_every_feature_names_known_capabilities() -> None:
    """A misspelt need would close a feature everywhere; names are those the attempts and tools give."""
    from glasshive.bpf.probe.attempts.run import all_attempts

    known = {one.capability for one in all_attempts()}
    known |= {f"tool:{tool.name}" for tool in tools.TOOLS} | {"lib:libbpf", "lib:bcc"}
    known |= {one.capability for one in tools.probe_limits()}
    needs = {need for one in doctor.FEATURES for need in (*one.needs, *one.better)}
    assert {one for need in needs for one in probe.alternatives(need)} <= known


def test_attempt_names_are_unique() -> None:
    from glasshive.bpf.probe.attempts.run import all_attempts

    names = [one.capability for one in all_attempts()]
    assert len(names) == len(set(names))


def test_diagnosis_has_four_states() -> None:
    wanted = [
        doctor.Wanted("feature", "whole", ("link:veth",)),
        doctor.Wanted("feature", "lesser", ("attach:tcx|attach:clsact",), better=("attach:tcx",), fallback="slower"),
        doctor.Wanted("feature", "shut", ("link:wireguard",)),
        doctor.Wanted("lab", "01 unsure", ("fs:overlay",)),
    ]
    here = machine(attach_tcx="not", link_wireguard="not", fs_overlay="inconclusive")
    diagnoses = doctor.diagnose(here, wanted)
    assert [one.state for one in diagnoses] == ["open", "reduced", "closed", "unsure"]
    text = doctor.render(here, diagnoses)
    assert "without attach:tcx (slower)" in text
    assert "lacks link:wireguard" in text
    assert mend.advice("link:wireguard") in text
    data = json.loads(json.dumps(doctor.as_data(here, diagnoses)))
    assert data["wanted"][2] == {
        "kind": "feature",
        "name": "shut",
        "state": "closed",
        "missing": ["link:wireguard"],
        "unsure": [],
        "without": [],
        "mend": {"link:wireguard": mend.advice("link:wireguard")},
    }


def test_require_says_what_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "machine", lambda: machine(link_veth="not"))
    with pytest.raises(CapabilityError) as caught:
        probe.require("link:veth", what="the embedded cluster")
    text = str(caught.value)
    assert "the embedded cluster needs link:veth" in text
    assert "seen in a test" in text
    assert "modprobe veth" in text


def test_answers_are_kept_for_this_boot_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = tmp_path / "deep" / "probe.json"
    kernel = [Finding("link:veth", Answer.SUPPORTED, "made one", 1.5)]
    kept_tools = {"clang": ("mark", Finding("tool:clang", Answer.NOT, "gone"))}
    cache.save(where, kernel, kept_tools)
    assert where.stat().st_mode & 0o777 == 0o600
    kept = cache.load(where)
    assert kept == cache.Kept(kernel, kept_tools)
    monkeypatch.setattr(cache, "key", lambda: "another boot")
    assert cache.load(where) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', '{"key": "x", "kernel": 3}'])
def test_a_damaged_cache_means_probing_again(tmp_path: Path, text: str) -> None:
    where = tmp_path / "probe.json"
    where.write_text(text, encoding="utf-8")
    assert cache.load(where) is None


def test_an_unwritable_cache_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    cache.save(tmp_path / "file" / "probe.json", [], {})


def test_a_dying_child_costs_only_the_attempt_it_was_at(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import json, os, sys\n"
        "for name in ('a:one', 'a:two', 'a:three'):\n"
        "    if name in sys.argv: continue\n"
        "    print(json.dumps({'begin': name}), flush=True)\n"
        "    if name == 'a:two': os._exit(9)\n"
        "    row = {'capability': name, 'answer': 'supported', 'reason': 'r', 'took_ms': 1.0}\n"
        "    print(json.dumps(row), flush=True)\n"
    )
    monkeypatch.setattr(probe, "_CHILD", program)
    answers = {one.capability: one.answer for one in probe.probe_kernel()}
    assert answers == {"a:one": Answer.SUPPORTED, "a:two": Answer.INCONCLUSIVE, "a:three": Answer.SUPPORTED}


def test_a_child_that_cannot_start_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_CHILD", "raise SystemExit('broken interpreter')")
    with pytest.raises(CapabilityError, match="broken interpreter"):
        probe.probe_kernel()


def test_limits_are_judged_by_their_value() -> None:
    low = {
        one.capability: one
        for one in tools.probe_limits(lambda path: "MemAvailable: 1024 kB" if "mem" in path else "7")
    }
    assert low["limit:inotify_watches"].answer is Answer.NOT
    assert low["limit:memory"].answer is Answer.NOT
    odd = {one.capability: one for one in tools.probe_limits(lambda _path: "what?")}
    assert odd["limit:pid_max"].answer is Answer.INCONCLUSIVE
    assert odd["limit:memory"].answer is Answer.INCONCLUSIVE


def test_a_tool_that_fails_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bpftool"
    broken.write_text("#!/bin/sh\necho WARNING: not for this kernel >&2\nexit 2\n", encoding="ascii")
    broken.chmod(0o755)
    monkeypatch.setattr(tools, "find_program", lambda name: str(broken) if name == "bpftool" else None)
    found = {name: finding for name, (_, finding) in tools.probe_tools({}).items()}
    assert found["bpftool"].answer is Answer.NOT
    assert "not for this kernel" in found["bpftool"].reason
    assert found["clang"].reason == "not found in PATH"


def test_a_tool_is_tried_again_only_when_its_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ip"
    program.write_text("#!/bin/sh\necho one\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setattr(tools, "TOOLS", (tools.Tool("ip", ()),))
    monkeypatch.setattr(tools, "find_program", lambda _name: str(program))
    first = tools.probe_tools({})
    os.utime(program, ns=(1, 1))
    kept = {"ip": (first["ip"][0], Finding("tool:ip", Answer.NOT, "from the cache"))}
    assert tools.probe_tools(kept)["ip"][1].answer is Answer.SUPPORTED
    kept = {"ip": (tools.fingerprint("ip"), Finding("tool:ip", Answer.NOT, "from the cache"))}
    assert tools.probe_tools(kept)["ip"][1].reason == "from the cache"
