"""The inventory: what is owned, in order, through crashes and many writers."""

import os
import subprocess

from glasshive.inventory import Entry, Inventory, Kind, process_alive, process_ident


def test_entries_come_back_in_order_without_the_forgotten(tmp_path):
    inventory = Inventory(tmp_path / "inventory.jsonl")
    inventory.add("netns", "gh-x-node1")
    inventory.add(Kind.CGROUP, tmp_path / "cg")
    inventory.add_all([("file", '/a b"c'), ("dir", "/d")])
    inventory.forget("netns", "gh-x-node1")
    assert inventory.entries() == [
        Entry(Kind.CGROUP, str(tmp_path / "cg")),
        Entry(Kind.FILE, '/a b"c'),
        Entry(Kind.DIR, "/d"),
    ]


def test_torn_last_line_and_missing_file_are_harmless(tmp_path):
    inventory = Inventory(tmp_path / "inventory.jsonl")
    assert inventory.entries() == []
    inventory.add("file", "/one")
    with inventory.path.open("a") as stream:
        stream.write('["+","fi')
    assert inventory.entries() == [Entry(Kind.FILE, "/one")]


def test_writers_in_several_processes_do_not_mix(tmp_path):
    inventory = Inventory(tmp_path / "inventory.jsonl")
    inventory.add("file", "/first")
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            for n in range(200):
                inventory.add("file", f"/{child}/{n}")
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    assert len(inventory.entries()) == 801


def test_process_ident_is_not_fooled_by_the_dead():
    child = subprocess.Popen(["sleep", "60"])
    ident = process_ident(child.pid)
    assert ident is not None
    assert process_alive(ident) == child.pid
    assert process_alive(f"{child.pid}:1") is None
    child.kill()
    child.wait()
    assert process_alive(ident) is None
    assert process_ident(child.pid) is None
