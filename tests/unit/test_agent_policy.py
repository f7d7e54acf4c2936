"""The agent's part of policy on paper: the order of steps, sweeps that spare what came back, settings, files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from control_plane import eventually
from glasshive.agent.endpoint_objects import endpoint_status
from glasshive.agent.facts import named_ports
from glasshive.agent.policy import tables
from glasshive.agent.policy.kept import KeptForms
from glasshive.agent.policy.kernel_rows import KernelRows
from glasshive.agent.policy.settings import AUDIT_KEY, MODE_KEY, PolicySettings, merged
from glasshive.agent.policy.tables import Hands, PolicyTables
from glasshive.agent.policy.views import peer_text, port_text
from glasshive.errors import UsageError
from glasshive.maps.policy import Row
from glasshive.model.address import Prefix
from glasshive.model.endpoint import Endpoint, PodRef
from glasshive.model.identity import Identity
from glasshive.model.labels import Labels
from glasshive.model.policy import CidrPeer, Direction, LabelPeer, Match, PeerRows, PortRow, Verdict
from glasshive.policy.delta import Assignment, Block, Delta, PeerChange, PeerKey, PolicyRows
from glasshive.policy.resolve import Mode

IN = Direction.INGRESS
ROWS = PeerRows(Verdict.DENY_DEFAULT, 0, (PortRow(6, 80, 16, Verdict.ALLOW, 7),))
OTHER = PeerRows(Verdict.ALLOW, 9)


class Paper:
    """Tables in memory; ``said`` is what was done, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.peers: dict[Any, Any] = {}
        self.ports: dict[Any, Any] = {}
        self.numbers: list[int] = []
        self.maps = self

    def bump_revision(self) -> int:
        self.said.append("bump")
        return 1

    def put_peers(self, rows: Mapping[Any, Any]) -> None:
        self.said.append("peers")
        self.peers.update(rows)

    def put_ports(self, rows: Mapping[Any, Any]) -> None:
        self.said.append("ports")
        self.ports.update(rows)

    def drop_peers(self, keys: Iterable[Any]) -> None:
        self.said.append("-peers")
        for key in keys:
            self.peers.pop(key, None)

    def drop_ports(self, keys: Iterable[Any]) -> None:
        self.said.append("-ports")
        for key in keys:
            self.ports.pop(key, None)

    def flip(self, _: Assignment) -> bool:
        self.said.append("flip")
        return True

    def blocks(self, found: Mapping[Prefix, int | None]) -> None:
        self.said.append("blocks" if any(one is not None for one in found.values()) else "-blocks")

    def released(self, numbers: Iterable[int]) -> None:
        self.numbers += numbers


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    monkeypatch.setattr(tables, "SWEEP_SECONDS", 0.02)
    return Paper()


def made(paper: Paper) -> PolicyTables:
    return PolicyTables(cast(KernelRows, paper), Hands(paper.flip, paper.blocks, paper.released))


async def swept(table: PolicyTables) -> None:
    await eventually(lambda: not table.waiting)


def test_new_rows_come_first_then_blocks_then_endpoints_and_old_rows_go_last(paper: Paper) -> None:
    async def scenario() -> None:
        table = made(paper)
        block = Block(Prefix.parse("10.0.0.0/8"), Identity(1 << 24 | 1, Labels.of(["cidr:10.0.0.0/8"])))
        old = PolicyRows(1, {(IN, 0): OTHER})
        table.apply(
            Delta(
                appeared=(PolicyRows(2, {(IN, 0): ROWS, (IN, 300): ROWS}),),
                blocks_added=(block,),
                flips=(Assignment("x", 2, ingress=True, egress=False),),
                retired=(old,),
            )
        )
        assert paper.said == ["ports", "peers", "blocks", "flip", "bump"]
        assert table.waiting == 1
        await swept(table)
        assert paper.said[5:] == ["-peers", "-ports"] or paper.said[5:] == ["-peers"]
        assert paper.numbers == [1]

    asyncio.run(scenario())


def test_a_block_that_no_rule_names_is_withdrawn_at_once(paper: Paper) -> None:
    """Until then its addresses have an identity for which a policy that comes next has no rows."""

    async def scenario() -> None:
        table = made(paper)
        block = Block(Prefix.parse("10.0.0.0/8"), Identity(1 << 24 | 1, Labels.of(["cidr:10.0.0.0/8"])))
        table.apply(
            Delta(
                flips=(Assignment("x", 0, ingress=False, egress=False),),
                blocks_removed=(block,),
                retired=(PolicyRows(1, {(IN, 0): OTHER}),),
            )
        )
        assert paper.said == ["flip", "-blocks", "bump"]
        await swept(table)
        assert paper.said[3:] == ["-peers"]

    asyncio.run(scenario())


def test_a_row_that_came_back_is_not_swept(paper: Paper) -> None:
    async def scenario() -> None:
        table = made(paper)
        key = PeerKey(2, IN, 300)
        table.apply(Delta(changed=(PeerChange(key, None, ROWS),)))
        table.apply(Delta(gone=(PeerChange(key, ROWS, None),)))
        table.apply(Delta(changed=(PeerChange(key, None, OTHER),)))
        await swept(table)
        assert key in paper.peers, "the identity left and came again before the sweep"
        assert paper.ports == {}

    asyncio.run(scenario())


def test_an_identity_that_stays_away_is_swept(paper: Paper) -> None:
    async def scenario() -> None:
        table = made(paper)
        key = PeerKey(2, IN, 300)
        table.apply(Delta(changed=(PeerChange(key, None, ROWS),)))
        table.apply(Delta(gone=(PeerChange(key, ROWS, None),)))
        assert key in paper.peers
        await swept(table)
        assert paper.peers == {}
        assert paper.ports == {}

    asyncio.run(scenario())


def test_settings_win_over_each_other_and_wrong_ones_are_named() -> None:
    base = PolicySettings()
    assert merged(base, {MODE_KEY: "Always"}, MODE_KEY, AUDIT_KEY) == PolicySettings(Mode.ALWAYS, audit=False)
    assert merged(base, {AUDIT_KEY: "true"}, MODE_KEY, AUDIT_KEY).audit
    assert merged(base, {"other": "x"}, MODE_KEY, AUDIT_KEY) == base
    for told in ({MODE_KEY: "sometimes"}, {AUDIT_KEY: "perhaps"}):
        with pytest.raises(UsageError, match=next(iter(told))):
            merged(base, told, MODE_KEY, AUDIT_KEY)


def test_kept_forms_outlive_their_keeper(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    obj = {"kind": "X", "metadata": {"name": "a", "uid": "u1"}, "spec": {"ingress": []}}
    KeptForms(file).keep(obj)
    again = KeptForms(file)
    assert again.get({"metadata": {"uid": "u1"}}) == obj
    assert again.get({"metadata": {"uid": "u2"}}) is None
    again.forget(obj)
    assert not file.exists()
    file.write_text("{")
    assert KeptForms(file).get(obj) is None


def test_what_an_endpoint_s_object_says_of_ports_and_account() -> None:
    endpoint = Endpoint(3, "c1", "eth0", "/run/netns/x", PodRef("shop", "web", "u1"), (), b"", b"", 1500, 300)
    labels = Labels.of(["k8s:app=web", "k8s:io.cilium.k8s.policy.serviceaccount=cook"])
    status = endpoint_status(
        endpoint, labels, "ready", "192.0.2.1", ("Enabled", "Disabled"), named_ports={("web", 6, 80), ("dns", 17, 53)}
    )
    assert status["named-ports"] == [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "web", "port": 80, "protocol": "TCP"},
    ]
    assert status["service-account"] == "cook"
    assert status["policy"]["ingress"] == {"enforcing": True, "state": "Enabled"}
    bare = endpoint_status(endpoint, None, "waiting-for-identity", "", ("", ""))
    assert not {"named-ports", "service-account"} & bare.keys()


def test_named_ports_of_a_pod() -> None:
    spec = {"containers": [{"ports": [{"name": "web", "containerPort": 80}, {"containerPort": 81},
                                      {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}  # fmt: skip
    assert named_ports(spec) == {("web", 6, 80), ("dns", 17, 53)}


@pytest.mark.parametrize(
    ("protocol", "port", "bits", "text"),
    [
        (0, None, 0, "ANY"),
        (6, 80, 16, "80/TCP"),
        (6, 1024, 6, "1024-2047/TCP"),
        (17, 0, 0, "UDP"),
        (1, 8, 16, "8/ICMP"),
    ],
)
def test_ports_as_people_read_them(protocol: int, port: int | None, bits: int, text: str) -> None:
    assert port_text(Row(1, IN, 0, protocol, port, bits, Verdict.ALLOW, 0, 0, 0)) == text


def test_peers_as_people_write_them() -> None:
    values = frozenset({"a", "b"})
    assert peer_text(LabelPeer(())) == "every endpoint"
    assert peer_text(LabelPeer((Match("k8s", "app", "in", frozenset({"web"})), Match("any", "x", "absent")))) == (
        "k8s:app=web !any:x"
    )
    assert peer_text(LabelPeer((Match("k8s", "app", "notin", values),))) == "k8s:app notin (a,b)"
    assert peer_text(CidrPeer(Prefix.parse("10.0.0.0/8"), (Prefix.parse("10.1.0.0/16"),))) == (
        "cidr:10.0.0.0/8 except 10.1.0.0/16"
    )
