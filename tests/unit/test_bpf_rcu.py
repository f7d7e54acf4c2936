"""The shared RCU switch, on ordinary files: nested, across processes, and after a holder was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from glasshive.bpf import rcu


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    path = tmp_path / "rcu_expedited"
    path.write_text("0\n")
    return path


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "run" / "rcu.lock"


def test_nested(switch: Path, lock: Path) -> None:
    with rcu.expedited_rcu(switch, lock) as outer:
        assert outer
        with rcu.expedited_rcu(switch, lock):
            assert switch.read_text().strip() == "1"
        assert switch.read_text().strip() == "1"
    assert switch.read_text().strip() == "0"


def test_value_that_was_there_comes_back(switch: Path, lock: Path) -> None:
    switch.write_text("1\n")
    with rcu.expedited_rcu(switch, lock):
        assert lock.exists()
    assert switch.read_text().strip() == "1"
    assert not lock.exists()


def test_many_threads(switch: Path, lock: Path) -> None:
    seen: list[str] = []

    def work() -> None:
        for _ in range(20):
            with rcu.expedited_rcu(switch, lock):
                seen.append(switch.read_text().strip())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {"1"}
    assert switch.read_text().strip() == "0"


def _hold(switch: Path, lock: Path, pipe: Connection) -> None:
    with rcu.expedited_rcu(switch, lock):
        pipe.send("held")
        pipe.recv()


def test_other_process_and_its_violent_end(switch: Path, lock: Path) -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_hold, args=(switch, lock, theirs))
    child.start()
    assert ours.recv() == "held"
    with rcu.expedited_rcu(switch, lock):
        pass
    assert switch.read_text().strip() == "1", "the child still holds it"
    assert not rcu.restore(switch, lock)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert switch.read_text().strip() == "1"
    assert rcu.restore(switch, lock)
    assert switch.read_text().strip() == "0"
    assert not rcu.restore(switch, lock)


def test_killed_holder_is_mended_by_the_next(switch: Path, lock: Path) -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_hold, args=(switch, lock, theirs))
    child.start()
    assert ours.recv() == "held"
    child.kill()
    child.join()
    with rcu.expedited_rcu(switch, lock):
        assert switch.read_text().strip() == "1"
    assert switch.read_text().strip() == "0"


def test_child_forked_meanwhile_does_not_prolong_it(switch: Path, lock: Path) -> None:
    read, write = os.pipe()
    with rcu.expedited_rcu(switch, lock):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
    assert switch.read_text().strip() == "0"
    os.close(write)
    os.close(read)
    os.waitpid(child, 0)


def test_switch_that_cannot_be_written_is_no_error(tmp_path: Path, lock: Path) -> None:
    with rcu.expedited_rcu(tmp_path / "absent", lock) as held:
        assert not held
    with rcu.expedited_rcu(lock=tmp_path / "absent" / "file" / "rcu.lock") as held:
        assert held == os.access(rcu.SWITCH, os.W_OK)
    assert not rcu.restore(tmp_path / "absent", lock)
