"""Connection tracking against a small model in Python, step by step on the shipped program."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datapath as dp
import packets as pk
from datapath_node import LO, furnish
from glasshive import bpf
from packets import FAMILIES

pytestmark = pytest.mark.root

SECOND_NS = 1_000_000_000
CLOCK_MONOTONIC_COARSE = 6  # linux/time.h; Python does not name it
OPENING, ESTABLISHED, CLOSING = 1, 2, 3
REPLIED, SYN, FIN_FORWARD, FIN_REPLY, RST = 2, 4, 8, 16, 32


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config()) as made:
        furnish(made)
        for family in FAMILIES:  # both ends behind the same device, so that both directions pass from_pod
            made.add_endpoint(pk.address("server", family), LO, identity=1002)
        yield made


@pytest.fixture(autouse=True)
def _fresh(path: dp.Datapath) -> None:
    path.clear("conntrack", "drops")


def test_numbers_of_the_model_are_those_of_the_abi(path: dp.Datapath) -> None:
    states, flags = bpf.btf.enum(path.btf, "gh_ct_state"), bpf.btf.enum(path.btf, "gh_ct_flags")
    assert [states[f"GH_CT_{name}"] for name in ("OPENING", "ESTABLISHED", "CLOSING")] == [
        OPENING,
        ESTABLISHED,
        CLOSING,
    ]
    names = ("REPLIED", "SYN", "FIN_FORWARD", "FIN_REPLY", "RST")
    assert [flags[f"GH_CT_{name}"] for name in names] == [REPLIED, SYN, FIN_FORWARD, FIN_REPLY, RST]


@dataclass
class Model:
    """A TCP connection as the programs should see it."""

    opener: str = ""
    state: int = 0
    flags: int = 0

    def see(self, sender: str, tcp_flags: str, *, expired: bool = False) -> None:
        fresh_syn = "S" in tcp_flags and "A" not in tcp_flags
        if not self.opener or expired or (self.state == CLOSING and fresh_syn):
            self.opener, self.state, self.flags = sender, OPENING, 0
            self.flags |= SYN if "S" in tcp_flags else 0
            self.flags |= FIN_FORWARD if "F" in tcp_flags else 0
            if "R" in tcp_flags:
                self.flags, self.state = self.flags | RST, CLOSING
            return
        reply = sender != self.opener
        self.flags |= REPLIED if reply else 0
        if "F" in tcp_flags:
            self.flags |= FIN_REPLY if reply else FIN_FORWARD
        self.flags |= RST if "R" in tcp_flags else 0
        if self.state == OPENING and self.flags & REPLIED:
            self.state = ESTABLISHED
        if self.flags & RST or self.flags & (FIN_FORWARD | FIN_REPLY) == FIN_FORWARD | FIN_REPLY:
            self.state = CLOSING


def only(path: dp.Datapath) -> tuple[Any, Any]:
    keys, values = path.maps["conntrack"].items()
    assert len(keys) == 1
    return keys[0], values[0]


def age(path: dp.Datapath, seconds: int) -> None:
    """Pretend that the connection was last seen so long ago."""
    key, value = only(path)
    value = value.copy()
    value["seen_ns"] = int(value["seen_ns"]) - seconds * SECOND_NS
    value["tick"] = (int(value["tick"]) - 1) % 2**32
    path.maps["conntrack"].update([key], [value])


def opener_of(key: Any, value: Any) -> bytes:
    end = "high" if int(value["flags"]) & 1 else "low"
    return bytes(key[end]["bytes"])


LIFETIMES_S = {OPENING: 60, ESTABLISHED: 8000, CLOSING: 10}
# A machine that has just been started cannot have seen a packet hours ago.
PAUSES_S = [pause for pause in (5, 11, 61, 8001) if pause < time.clock_gettime(CLOCK_MONOTONIC_COARSE) - 100]
step = st.tuples(
    st.sampled_from(["client", "server"]), st.sampled_from(["S", "SA", "A", "PA", "FA", "F", "R", "RA", "SF"]),
    st.sampled_from([0, 0, 0, *PAUSES_S]),
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(family=st.sampled_from(FAMILIES), ports=st.tuples(st.integers(1, 65535), st.integers(1, 65535)),
       steps=st.lists(step, min_size=1, max_size=12))  # fmt: skip
def test_tcp_follows_the_model(path: dp.Datapath, family: int, ports: tuple[int, int],
                               steps: list[tuple[str, str, int]]) -> None:  # fmt: skip
    path.clear("conntrack")
    model = Model()
    port = dict(zip(("client", "server"), ports, strict=True))
    for sender, flags, pause_s in steps:
        if pause_s and model.opener:
            age(path, pause_s)
        expired = pause_s > LIFETIMES_S.get(model.state, 0)
        receiver = "server" if sender == "client" else "client"
        packet = pk.tcp(sender, receiver, family, sport=port[sender], dport=port[receiver], flags=flags)
        assert path.run("from_pod", bytes(packet)).retval == dp.REDIRECT
        model.see(sender, flags, expired=bool(expired and pause_s))
        key, value = only(path)
        assert int(value["state"]) == model.state, (sender, flags)
        assert int(value["flags"]) & ~1 == model.flags, (sender, flags)
        assert opener_of(key, value) == dp.parse(pk.address(model.opener, family))
        assert int(value["identity"]) == {"client": 1001, "server": 1002}[model.opener]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["udp", "echo"])
def test_datagrams_are_established_by_an_answer(path: dp.Datapath, kind: str, family: int) -> None:
    request = getattr(pk, kind)("client", "server", family)
    answer = pk.echo_reply("server", "client", family) if kind == "echo" else pk.reply(request)
    for _ in range(2):
        path.run("from_pod", bytes(request))
        assert int(only(path)[1]["state"]) == OPENING
    path.run("from_pod", bytes(answer))
    assert int(only(path)[1]["state"]) == ESTABLISHED


@pytest.mark.parametrize("family", FAMILIES)
def test_echo_in_both_directions_is_two_connections(path: dp.Datapath, family: int) -> None:
    for sender, receiver in (("client", "server"), ("server", "client")):
        path.run("from_pod", bytes(pk.echo(sender, receiver, family, ident=5)))
    assert len(path.rows("conntrack")) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_established_packets_write_nothing(path: dp.Datapath, family: int) -> None:
    """Within one tick the entry stays bit for bit; in another tick the stamp moves and nothing else."""
    for sender, receiver, flags in (("client", "server", "S"), ("server", "client", "SA"), ("client", "server", "A")):
        ports = (1000, 80) if sender == "client" else (80, 1000)
        path.run("from_pod", bytes(pk.tcp(sender, receiver, family, sport=ports[0], dport=ports[1], flags=flags)))
    data = bytes(pk.tcp("client", "server", family, sport=1000, dport=80, flags="PA", data=b"x"))
    for _ in range(50):  # a tick may end in between, but not every time
        path.run("from_pod", data)
        before = only(path)[1].tobytes()
        path.run("from_pod", data)
        if only(path)[1].tobytes() == before:
            break
    else:
        pytest.fail("every packet wrote the entry")
    was = only(path)[1].copy()
    age(path, 100)
    path.run("from_pod", data)
    now = only(path)[1]
    assert int(now["seen_ns"]) >= int(was["seen_ns"])
    assert (int(now["state"]), int(now["flags"]), int(now["created_ns"])) == (
        int(was["state"]), int(was["flags"]), int(was["created_ns"]),
    )  # fmt: skip


def test_stamps_are_the_coarse_clock(path: dp.Datapath) -> None:
    before = time.clock_gettime_ns(CLOCK_MONOTONIC_COARSE)
    path.run("from_pod", bytes(pk.udp("client", "server", 4)))
    after = time.clock_gettime_ns(CLOCK_MONOTONIC_COARSE)
    assert before <= int(only(path)[1]["seen_ns"]) <= after


def test_a_full_table_forgets_the_oldest_and_goes_on() -> None:
    with dp.loaded(dp.config(), {"conntrack": 256}) as path:
        furnish(path)
        for port in range(1, 2000):
            assert path.run("from_pod", bytes(pk.udp("client", "server", 4, sport=port))).retval == dp.REDIRECT
        assert 0 < len(path.rows("conntrack")) <= 256
        assert path.drops() == {}
