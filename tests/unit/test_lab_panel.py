"""What the panel shows, its text twin, and who may ask its server. No cluster: the server's door is tested alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from glasshive.lab.grading.score import Graded, LabResult, TaskResult
from glasshive.lab.panel import board as boards
from glasshive.lab.panel import server
from glasshive.lab.tasks import tasks_of
from glasshive.model.check_result import CheckResult, Verdict
from glasshive.widgets import Panel
from glasshive.widgets.view import STATIC


def result(verdict: Verdict, observed: str = "seen") -> LabResult:
    check = Graded(
        "placed", "it is there", 100, CheckResult("placed", verdict, observed, "wanted so"), verdict is Verdict.ERROR
    )
    return LabResult("01", (TaskResult("plug-in", "Plug in", 100, (check,)),))


def word_of(board: dict[str, Any]) -> str:
    return str(board["tasks"][0]["word"])


def test_a_board_follows_the_state_and_remembers_only_what_it_was_done() -> None:
    first = boards.board("01", "Lab", result(Verdict.FAIL))
    assert (word_of(first), first["tasks"][0]["earned"]) == ("not so yet", 0)
    done = boards.board("01", "Lab", result(Verdict.PASS), first)
    assert (word_of(done), done["tasks"][0]["earned"]) == ("done", 100)
    broken = boards.board("01", "Lab", result(Verdict.FAIL), done)
    assert word_of(broken) == "broken again"
    assert word_of(boards.board("01", "Lab", result(Verdict.FAIL), broken)) == "broken again"
    assert word_of(boards.board("01", "Lab", result(Verdict.PASS), broken)) == "done"
    assert word_of(boards.board("01", "Lab", result(Verdict.SKIPPED))) == "not assessed yet"
    assert word_of(boards.board("01", "Lab", result(Verdict.ERROR), done)) == "cannot be told"


def test_looking_again_at_the_same_shows_nothing_new() -> None:
    one = boards.board("01", "Lab", result(Verdict.FAIL))
    assert boards.same(one, boards.board("01", "Lab", result(Verdict.FAIL), one))
    assert not boards.same(one, boards.board("01", "Lab", result(Verdict.FAIL, "something else"), one))
    troubled = boards.troubled(one, "the grader is gone")
    assert not boards.same(one, troubled)
    assert troubled["tasks"] == one["tasks"]


def test_the_text_twin_names_tasks_and_not_how_they_stand() -> None:
    empty = boards.empty("01", "First packet, first pod", tasks_of("first_pod"))
    panel = Panel(empty, url="http://127.0.0.1:1", token="t", twin="glasshive lab status 01 --watch")
    assert repr(panel) == (
        "progress of lab 01: First packet, first pod\n  - Plug in a third pod (100 points)\n"
        "  how they stand, in a terminal: glasshive lab status 01 --watch"
    )
    json.dumps(panel.state)
    assert (STATIC / "panel.js").is_file()


class Watched(server.Watch):
    """A watch that looks at nothing: what it shows is put there by the test."""

    def __init__(self) -> None:
        self.board = boards.board("01", "Lab", result(Verdict.FAIL))
        self.lookers = set()
        self.wanted = asyncio.Event()
        self.last_wanted = 0.0
        self.over = ""


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/board?token=right", "", 200),
        ("/board?token=wrong", "", 403),
        ("/board", "", 403),
        ("/events", "", 403),
        ("/board?token=right", "evil.example:80", 403),
        ("/else?token=right", "", 404),
    ],
)
def test_only_who_shows_the_token_on_this_host_is_answered(path: str, host: str, status: int) -> None:
    async def ask() -> int:
        async with TestClient(TestServer(server.application(Watched(), "right"))) as client:
            headers = {"Host": host} if host else {}
            async with client.get(path, headers=headers) as answer:
                return answer.status

    assert asyncio.run(ask()) == status


def test_who_looks_gets_the_board_then_what_is_new_then_the_end() -> None:
    async def follow() -> list[str]:
        watch = Watched()
        async with TestClient(TestServer(server.application(watch, "right"))) as client:
            async with client.get("/events?token=right") as answer:
                assert answer.headers["Content-Type"] == "text/event-stream"
                lines = [await answer.content.readline() for _ in range(3)]
                assert len(watch.lookers) == 1
                watch.tell("look", {"looks": 2})
                watch.tell("end", {"why": "the lab was reset"})
                with contextlib.suppress(ConnectionError):
                    lines += [line async for line in answer.content]
            assert not watch.lookers
            async with client.post("/end?token=right"):
                assert watch.over == server.RESET
        return [line.decode().strip() for line in lines if line.startswith(b"event")]

    assert asyncio.run(follow()) == ["event: board", "event: look", "event: end"]
