"""Remote commands on a WebSocket: messages in both directions, on bytes; and the pod's end of input."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.cluster.embedded.kubelet import channels
from glasshive.cluster.embedded.kubelet.channels import V4, V5, Input, Size
from glasshive.cluster.embedded.pods.channel import QUEUE_FRAMES, Channel
from glasshive.cluster.embedded.pods.pipe import Input as PipeInput


@pytest.mark.parametrize(
    ("message", "version", "told"),
    [
        (b"\0word\n", V5, Input(b"word\n")),
        (b"\0", V5, None),
        (b"", V5, None),
        (b"\xff\0", V5, Input(b"", ended=True)),
        (b"\xff\4", V5, None),
        (b'\4{"Width":100,"Height":40}', V4, Size(40, 100)),
    ],
)
def test_what_clients_say(message: bytes, version: str, told: object) -> None:
    assert channels.parse(message, version) == told


@pytest.mark.parametrize("message", [b"\1x", b"\3x", b"\4", b"\4[]", b"\4{", b'\4{"Width":"wide"}'])
def test_what_clients_may_not_say(message: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own errors are ValueErrors too
        channels.parse(message, V4)


def test_version_4_cannot_end_a_channel() -> None:
    with pytest.raises(ValueError, match="channel 255"):
        channels.parse(b"\xff\0", V4)


@given(st.binary(max_size=50))
def test_any_message_is_understood_or_refused(message: bytes) -> None:
    with contextlib.suppress(ValueError):
        channels.parse(message, V5)


def test_how_commands_end() -> None:
    assert json.loads(channels.status(0)) == {"metadata": {}, "status": "Success"}
    failed = json.loads(channels.status(7))
    assert failed["reason"] == "NonZeroExitCode"
    assert failed["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    assert json.loads(channels.status(127, "x: not there"))["message"] == "x: not there"
    assert json.loads(channels.status(None))["status"] == "Failure"


def test_wishes() -> None:
    wish = channels.wish({"input": "1", "output": "true", "error": "1", "tty": "1"}, ("ls", "-l"))
    assert wish == channels.Wish(("ls", "-l"), stdin=True, stdout=True, stderr=False, terminal=True)


def test_input_counts_what_left_it() -> None:
    """Every byte is counted once, whether the process took it or had closed its input."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    taken: list[int] = []
    with selectors.DefaultSelector() as selector:
        entrance = PipeInput(writer, selector, taken.append)
        entrance.write(bytes(200_000))
        assert 0 < sum(taken) < 200_000
        os.close(reader)
        for key, events in selector.select(1):
            key.data(events)
        assert sum(taken) == 200_000
        entrance.write(b"more")
        assert sum(taken) == 200_004


def test_a_full_queue_drains_once_it_is_empty_even_in_several_rounds() -> None:
    own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with selectors.DefaultSelector() as selector, other:
        channel = Channel(own, selector, lambda *_: None, lambda _: None)
        drained: list[int] = []
        channel.drained = lambda: drained.append(1)
        sent = 0
        while not channel.full:
            channel.send(b"o", bytes(30_000))
            sent += 1
        assert sent > QUEUE_FRAMES
        assert not drained
        received = 0
        while received < sent:
            for key, events in selector.select(0):
                key.data(events)
            received += len(other.recv(40_000)) == 30_001
        for key, events in selector.select(0):
            key.data(events)
        assert drained == [1]
        channel.close()
