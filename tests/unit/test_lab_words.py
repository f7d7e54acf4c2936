"""What the lab kit says and reads without a cluster: drop reasons in words, counters of devices, check results."""

from __future__ import annotations

import re
from pathlib import Path

from glasshive.lab.sources import parse_devices
from glasshive.lab.words import DROP_REASONS, drop_reason
from glasshive.model.check_result import CheckResult, Verdict
from glasshive.model.traffic import Traffic
from glasshive.widgets import Question

ROOT = Path(__file__).resolve().parents[2]


def test_every_drop_reason_has_words() -> None:
    text = (ROOT / "bpf" / "types" / "drop.h").read_text(encoding="utf-8")
    names = {name.lower().replace("_", "-") for name in re.findall(r"\bGH_DROP_([A-Z0-9_]+) = \d+", text)}
    assert names == set(DROP_REASONS)
    assert "does not know" in drop_reason("never-heard-of")


def test_counters_are_those_of_the_pods_own_device() -> None:
    numbers = "828 8 0 0 0 0 0 0 180 2 0 0 0 0 0 0"
    text = f"Inter-|   Receive  |  Transmit\n face |bytes packets\n  eth0: {numbers}\n    lo: {'0 ' * 16}\n"
    assert parse_devices(text)["eth0"] == Traffic(packets_in=8, bytes_in=828, packets_out=2, bytes_out=180)


def test_a_result_says_what_was_wanted_only_when_it_matters() -> None:
    passed = CheckResult("reach", Verdict.PASS, "answers", "answers both ways")
    failed = CheckResult("reach", Verdict.FAIL, "no answer", "answers both ways", why="because")
    assert passed
    assert repr(passed) == "pass: reach\n  observed: answers"
    assert not failed
    assert repr(failed) == "fail: reach\n  observed: no answer\n  wanted: answers both ways\n  why: because"
    assert not CheckResult("reach", Verdict.TIMEOUT, "")


def test_a_prediction_is_kept_beside_the_answer() -> None:
    view = Question("Which?", ["a", "b"])
    assert repr(view) == "predict: Which?\n  - a\n  - b"
    assert view.reveal("a") == "the answer: a (no prediction was made)"
    view.choose("b")
    assert view.reveal("a") == "predicted: b; it is: a"
    view.choose("a")
    assert view.reveal("a") == "as predicted: a"
    view.close()
