"""The connectivity test without a cluster: which probes are planned, what answers are worth, how it is reported."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.connectivity import Place, Report, Row, facts, manifests, remote
from glasshive.connectivity.judge import judge, proof, rows_of
from glasshive.connectivity.junit import to_junit
from glasshive.connectivity.scenarios import Places, pairs, plan
from glasshive.connectivity.values import Check, Facts, Path
from glasshive.model.check_result import Verdict


def places(nodes: int = 2, *, world: bool = True) -> Places:
    names = [f"node{i + 1}" for i in range(nodes)]

    def place(kind: str, node: str, number: int) -> Place:
        name = node if kind == "node" else f"{kind}-{node}"
        base = {"client": 1, "echo": 2, "node": 3, "world": 4}[kind]
        both = {"ipv4": f"10.{base}.0.{number}", "ipv6": f"fd00:{base}::{number}"}
        return Place(kind, name, node, both, 9100, "secret-" + name)

    made = {k: tuple(place(k, n, i + 1) for i, n in enumerate(names)) for k in ("client", "echo", "node")}
    outside = place("world", "world", 1) if world else None
    return Places(made["client"], made["echo"], made["node"], outside)


def some_facts(**more: Any) -> Facts:
    return dataclasses.replace(Facts(("ipv4", "ipv6"), 1500, frozenset()), **more)


def test_every_pair_of_few_nodes_a_ring_of_many() -> None:
    assert pairs(["a"]) == []
    assert pairs(["a", "b"]) == [("a", "b"), ("b", "a")]
    assert len(pairs(list("abcd"))) == 12
    ring = pairs(list("abcdefgh"))
    assert len(ring) == 8
    assert {a for a, _ in ring} == {b for _, b in ring} == set("abcdefgh")


@given(st.integers(1, 9), st.booleans(), st.sampled_from([("ipv4",), ("ipv6",), ("ipv4", "ipv6")]))
def test_probes_stay_in_their_family_and_tokens_are_unique(nodes: int, world: bool, families: tuple[str, ...]) -> None:
    made = plan(places(nodes, world=world), some_facts(families=families))
    checks = [*made.checks, *made.later]
    tokens = [check.probe["token"] for check in checks]
    assert len(set(tokens)) == len(tokens)
    for check in checks:
        family = check.test.rpartition("/")[2]
        assert family in families
        assert (":" in check.probe["address"]) == (family == "ipv6")
    scenarios = {"/".join(check.test.split("/")[:-2]) for check in checks}
    assert ("pod-to-world" in scenarios) == world == ("pod-to-world" not in made.missing)
    assert ("pod-to-pod/other-node" in scenarios) == (nodes > 1) == ("pod-to-pod/other-node" not in made.missing)


def test_what_does_not_apply_is_named() -> None:
    assert set(plan(places(), some_facts()).missing) == {
        "pod-to-service",
        "world-to-node-port",
        "hairpin",
        "dns",
        "policy",
    }
    full = some_facts(
        features=frozenset({"service", "policy"}),
        services={"echo": {"ipv4": "10.96.0.5", "ipv6": "fd00:96::5"}},
        name_servers={"ipv4": "10.96.0.10", "ipv6": "fd00:96::a"},
        headless={"ipv4": frozenset({"10.2.0.1"})},
        node_port=30100,
        namespace="glasshive-test-x",
    )
    made = plan(places(), full)
    assert made.missing == {}
    scenarios = {name.split("/")[0] for name in made.order}
    assert {"pod-to-service", "world-to-node-port", "hairpin", "dns", "policy"} <= scenarios
    assert {check.probe["kind"] for one in made.rounds for check in one.checks} == {"tcp", "silent", "dns"}
    without = plan(places(), dataclasses.replace(full, node_port=0))
    assert set(without.missing) == {"world-to-node-port"}


ECHO, CLIENT = places().echoes[0], places().clients[0]


def check(**more: Any) -> Check:
    probe = {"kind": "tcp", "address": "10.2.0.1", "port": 9100, "token": "t0ken"}
    return Check("a/tcp/ipv4", CLIENT, ECHO.name, probe | more.pop("probe", {}), **more)


def reply(source: str = "10.1.0.1", secret: str = ECHO.secret, token: str = "t0ken") -> dict[str, Any]:
    return {"error": "", "ms": 3.0, "reply": {"proof": proof(secret, token), "source": source, "name": "echo"}}


PROVED = check(provers=(ECHO,), seen_as=frozenset({"10.1.0.1"}))


@pytest.mark.parametrize(
    ("asked", "answer", "problem"),
    [
        (PROVED, reply(), ""),
        (PROVED, reply("::ffff:10.1.0.1"), ""),
        (PROVED, reply("10.3.0.1"), "seen as 10.3.0.1, expected 10.1.0.1"),
        (PROVED, reply(secret="guess"), "a stranger answered"),
        (PROVED, reply(token="another"), "a stranger answered"),
        (PROVED, {"error": "", "reply": {}}, "a stranger answered"),
        (PROVED, {"error": ""}, "a stranger answered"),
        (PROVED, {"error": "timed out"}, "timed out"),
        (check(), {"error": ""}, ""),
        (check(too_long=True), {"error": "message too long", "too_long": True}, ""),
        (check(too_long=True), {"error": ""}, "larger than the MTU was not refused"),
        (check(probe={"mtu": 1300}), {"error": "", "mtu": 1300}, ""),
        (check(probe={"mtu": 1300}), {"error": "", "mtu": 1400}, "learnt a path MTU of 1400, told was 1300"),
        (check(code=3, addresses=frozenset()), {"error": "", "code": 3, "addresses": []}, ""),
        (check(code=3), {"error": "", "code": 0}, "answered code 0, expected 3"),
        (check(addresses=frozenset({"fd00::1"})), {"error": "", "addresses": ["fd00:0::1"]}, ""),
        (check(addresses=frozenset({"10.0.0.1"})), {"error": "", "addresses": ["10.0.0.2"]}, "expected 10.0.0.1"),
    ],
)
def test_answers(asked: Check, answer: dict[str, Any], problem: str) -> None:
    found = judge(asked, answer).problem
    assert problem in found
    assert bool(problem) == bool(found)


def test_rows_and_reports() -> None:
    good = Path("b/tcp/ipv4", "x", "y", "", 4.0)
    bad = [Path("a/tcp/ipv4", "x", f"y{i}", "lost\x00") for i in range(5)]
    rows = rows_of([good, *bad, Path("a/tcp/ipv4", "z", "y", "", 9.0)], ["a/tcp/ipv4", "b/tcp/ipv4", "never"])
    assert [(row.test, row.verdict) for row in rows] == [("a/tcp/ipv4", Verdict.FAIL), ("b/tcp/ipv4", Verdict.PASS)]
    assert rows[0].detail.startswith("5 of 6 failed: x -> y0: lost")
    assert rows[0].detail.endswith("; and 2 more")
    skipped = Row("hairpin", Verdict.SKIPPED, "no services")
    report = Report("demo", "ns", (*rows, skipped), 1.5)
    assert not report.passed
    assert report.failing == ("a/tcp/ipv4",)
    assert Report("demo", "ns", (rows[1], skipped), 1.0).passed
    root = Xml.fromstring(to_junit(report))
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("3", "1", "1")
    assert root.find(".//testcase[@classname='a']/failure") is not None
    assert root.find(".//testcase[@classname='hairpin']/skipped") is not None


def test_facts() -> None:
    assert facts.features_of({"a": {"features": {"x": {}, "y": {}}}, "b": {"features": {"y": {}}}}) == {"y"}
    assert facts.features_of({}) == frozenset()
    assert facts.free_address("10.0.0.0/24", frozenset({"10.0.0.254"})) == "10.0.0.253"
    assert facts.free_address("10.0.0.0/31", frozenset()) == ""


# -- the two programs, on this machine's loopback


@pytest.fixture
def responder() -> Any:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    settings = manifests.settings("s3cret", "me", port, ["127.0.0.1"], lifetime=30)
    command = [sys.executable, "-I", "-S", "-u", "-c", remote.source("responder"), settings]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield port, process
    process.kill()
    process.communicate()


def probe(*probes: dict[str, Any]) -> list[dict[str, Any]]:
    command = [sys.executable, "-I", "-S", "-c", remote.source("prober")]
    text = json.dumps([{"address": "127.0.0.1", **p} for p in probes])
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60)
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_prober_and_responder(responder: Any) -> None:
    port, process = responder
    where = {"port": port, "token": "ab" * 16}
    bulk = {"upload_bytes": 300_000, "download_bytes": 500_000}
    tcp, many, udp, large, refused, silent, odd = probe(
        {"kind": "tcp", **where},
        {"kind": "tcp", **where, **bulk},
        {"kind": "udp", **where},
        {"kind": "udp", **where, "size": 8000, "answer_bytes": 8000},
        {"kind": "refused", "port": 9, "token": "x"},
        {"kind": "silent", **where},
        {"kind": "tcp", **where, "port": 9},
    )
    for answer in (tcp, many, udp, large):
        assert answer["error"] == ""
        assert answer["reply"]["proof"] == proof("s3cret", "ab" * 16)
        assert answer["reply"]["source"] == "127.0.0.1"
    assert large["reply"]["size"] == 8000
    assert refused["error"] == ""
    assert "accepted" in silent["error"]
    assert "refused" in odd["error"]
    # Nonsense does not end it, its secret does.
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b'{"stop": "guess"}\n')
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"\xff\xfe\n")
    assert probe({"kind": "tcp", **where})[0]["error"] == ""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b'{"stop": "s3cret"}\n')
    assert process.wait(5) == 0
