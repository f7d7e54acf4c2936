"""Tasks as values, draws, scores and polling: no cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from glasshive.errors import GlasshiveError, NotFoundError, UsageError
from glasshive.lab.checks import shape
from glasshive.lab.checks.outcome import all_of, bad, good
from glasshive.lab.draw import Draw
from glasshive.lab.grading import grade
from glasshive.lab.grading.score import LabResult, TaskResult
from glasshive.lab.manifest import read_labs
from glasshive.lab.shown import Shown
from glasshive.lab.task import Check, Hint, Mutant, Task
from glasshive.lab.tasks import task_of, tasks_of
from glasshive.model.check_result import CheckResult, Verdict

HINTS = ("look", "look there", "do this")


def right(reader, given):
    return good("right")


def wrong(reader, given):
    return bad("wrong", "right", state="odd")


def broken(reader, given):
    raise GlasshiveError("cannot look")


def one(lab, given): ...
def two(lab, given): ...
def m1(lab, given): ...
def m2(lab, given): ...
def m3(lab, given): ...


def task(**changes) -> Task:
    fields = {
        "id": "small", "title": "A small task", "points": 10, "text": "do it",
        "checks": (
            Check("there", "it is there", 40, "state", right),
            Check("works", "it works", 40, "probe", right, needs=("there",)),
            Check("only", "nothing else", 20, "invariant", right, needs=("there",), negative=True),
        ),
        "hints": (Hint("there", HINTS),), "solutions": (one, two),
        "mutants": (Mutant(m1, "there"), Mutant(m2, "works"), Mutant(m3, "only")),
    }  # fmt: skip
    return Task(**{**fields, **changes})


def with_looks(*looks) -> Task:
    made = task()
    return replace(made, checks=tuple(replace(c, look=x) for c, x in zip(made.checks, looks, strict=True)))


# a task is held to its form -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"id": "Not an id"}, "is no id"),
        ({"points": 0}, "points must be more than 0"),
        ({"checks": (Check("there", "t", 90, "probe", right, negative=True),)}, "weights sum to 90"),
        ({"checks": (Check("there", "t", 100, "state", right, negative=True),)}, "checks of behaviour weigh 0"),
        ({"checks": (Check("there", "t", 100, "probe", right),)}, "no check is negative"),
        (
            {"checks": (Check("there", "t", 100, "probe", right, needs=("late",)),)},
            "needs 'late', which does not stand",
        ),
        ({"checks": (Check("there", "t", 100, "probe", right, within_s=31),)}, "at most 30 is allowed"),
        ({"solutions": (one,)}, "1 solutions, at least 2"),
        ({"mutants": (Mutant(m1, "there"),)}, "1 mutants, at least 3"),
        ({"mutants": (Mutant(m1, "nowhere"),)}, "caught by 'nowhere', which is no check"),
        ({"hints": ()}, "check there has no hint"),
        ({"setup": one}, "setup and ready go together"),
        ({"solutions": (one, one)}, "two solutions or mutants have one name"),
    ],
)
def test_a_task_that_breaks_the_rules_cannot_be_made(changes, complaint) -> None:
    with pytest.raises(UsageError, match=complaint):
        task(**changes)


def test_every_labs_tasks_can_be_read_and_drawn() -> None:
    for entry in read_labs():
        for found in tasks_of(entry.topic):
            for seed in range(20):
                given = found.given(seed)
                assert given == found.given(seed)
                for text in (found.text, *(tier for hint in found.hints for tier in hint.tiers)):
                    text.format(**given)


def test_an_unknown_task_lists_near_ones() -> None:
    with pytest.raises(NotFoundError, match="near it: plug-in"):
        task_of("first_pod", "plugin")
    assert tasks_of("no_such_topic") == ()


# draws --------------------------------------------------------------------------------------------------------------


def test_draws_depend_on_seed_and_task_and_nothing_else() -> None:
    def draws(seed: int, name: str) -> list[object]:
        draw = Draw(seed, name)
        return [draw.name(), draw.name(), draw.port(), draw.sample("abcdef", 3), draw.token()]

    assert draws(1, "a") == draws(1, "a")
    assert draws(1, "a") != draws(2, "a")
    assert draws(1, "a") != draws(1, "b")
    # Written down: a change of the stream would change every learner's lab.
    assert draws(0, "plug-in") == ["ivy", "fern", 25239, ["e", "f", "a"], "721ec1bdc960912f"]


def test_every_option_is_drawn_and_none_outside() -> None:
    draw = Draw(0, "spread")
    seen = [draw.integer(3, 7) for _ in range(500)]
    assert set(seen) == {3, 4, 5, 6, 7}
    assert len({draw.name() for _ in range(30)}) == 30


# scores -------------------------------------------------------------------------------------------------------------


def test_a_pass_earns_its_weight_and_a_fail_nothing() -> None:
    result = grade.grade(None, with_looks(right, wrong, right), 0, within_s=0)
    assert (result.score, result.earned, result.verdict) == (60, 6, Verdict.FAIL)
    assert result.first_trouble().check == "works"


def test_children_of_a_failed_parent_are_skipped_in_words_and_earn_nothing() -> None:
    result = grade.grade(None, with_looks(wrong, right, right), 0, within_s=0)
    assert result.score == 0
    assert [c.result.verdict for c in result.checks] == [Verdict.FAIL, Verdict.SKIPPED, Verdict.SKIPPED]
    assert result.of("works").result.observed == "not assessed, because this is not so yet: it is there"


def test_what_cannot_be_looked_at_is_void_and_the_rest_is_scaled() -> None:
    result = grade.grade(None, with_looks(right, broken, right), 0, within_s=0)
    assert result.void == ("works",)
    assert (result.score, result.verdict) == (100, Verdict.ERROR)
    assert not result
    assert "could not be assessed: works" in repr(Shown([result]))


def test_children_of_a_void_parent_are_void_and_nothing_left_is_no_score() -> None:
    result = grade.grade(None, with_looks(broken, right, right), 0, within_s=0)
    assert result.void == ("there", "works", "only")
    assert result.score is None
    assert LabResult("x", (result,)).score is None
    assert repr(Shown([result])).startswith("error: A small task (not assessed)")


def test_an_error_is_tried_once_more() -> None:
    asked = []

    def flaky(reader, given):
        asked.append(1)
        if len(asked) == 1:
            raise GlasshiveError("not now")
        return good("right")

    assert grade.grade(None, with_looks(flaky, right, right), 0).score == 100
    assert len(asked) == 2


def test_a_defect_of_a_check_is_told_and_not_held_against_anybody() -> None:
    def defect(reader, given):
        return {}["nothing"]

    result = grade.grade(None, with_looks(right, defect, right), 0, within_s=0)
    assert "KeyError" in result.of("works").result.observed
    assert result.void == ("works",)


def test_a_task_waits_for_the_one_before_it_and_for_its_set_up() -> None:
    before = grade.grade(None, with_looks(wrong, right, right), 0, within_s=0)
    later = replace(task(), after=("small",))
    result = grade.grade(None, later, 0, parents={"small": before})
    assert {c.result.verdict for c in result.checks} == {Verdict.SKIPPED}
    assert (result.score, result.void) == (0, ())
    fresh = replace(task(), setup=one, ready=right)
    assert "was not begun" in grade.grade(None, fresh, 0, begun=False).of("there").result.observed


def test_results_survive_json() -> None:
    import json

    result = grade.grade(None, with_looks(wrong, right, right), 0, within_s=0)
    assert TaskResult.from_json(json.loads(json.dumps(result.to_json()))) == result


# polling ------------------------------------------------------------------------------------------------------------


def test_what_changes_is_waited_for() -> None:
    answers = iter([bad("one", "x", moving=True), bad("two", "x", moving=True), good("three")])
    assert grade.poll(lambda: next(answers), 10.0).observed == "three"


def test_what_stays_wrong_is_given_up_before_the_deadline() -> None:
    asked = []

    def ask() -> CheckResult:
        asked.append(1)
        return replace(bad("same", "x"), settles_s=0.1)

    assert grade.poll(ask, 3600.0).verdict is Verdict.FAIL
    assert len(asked) > 1


def test_what_hangs_is_a_time_out() -> None:
    import threading

    never = threading.Event()
    result = grade.within(lambda: (never.wait(60), good("late"))[1], 0.05)
    never.set()
    assert result.verdict is Verdict.TIMEOUT


def test_steps_stop_at_the_first_that_is_wrong() -> None:
    assert all_of(lambda: good("a"), lambda: good("b")).observed == "a; b"
    assert all_of(lambda: bad("a", "b"), lambda: 1 / 0).observed == "a"


# shapes -------------------------------------------------------------------------------------------------------------


def test_shapes_do_not_depend_on_speed() -> None:
    linear = [(x, 3.0 * x) for x in (10, 100, 1000)]
    assert shape.exponent(linear) == pytest.approx(1)
    assert shape.exponent([(x, 1000 * y) for x, y in linear]) == pytest.approx(1)
    flat = [(10, 5.0), (100, 5.1), (1000, 4.9)]
    assert shape.grows(flat, -0.2, 0.2)
    assert shape.grows(linear, -0.2, 0.2).state == "too-steep"
    assert shape.grows(flat, 0.7, 1.3).state == "too-flat"
    assert shape.ratio(10, 5, 1.5, 2.5)
    assert shape.ratio(10, 20, 1.5, 2.5).state == "too-small"
    with pytest.raises(UsageError, match="two different x"):
        shape.exponent([(1, 1), (1, 2)])
