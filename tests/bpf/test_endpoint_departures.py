"""Devices that leave in company, whether they are still there or not."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator

import pytest

from glasshive.endpoint.departures import Departures
from glasshive.errors import NetlinkError
from glasshive.model.address import parse
from glasshive.model.endpoint import Endpoint, PodRef
from glasshive.net import netlink, netns
from glasshive.net.links import Links

pytestmark = pytest.mark.root

SPACE = "gh-f-depart-node1"


@pytest.fixture
def space() -> Iterator[str]:
    netns.create(SPACE)
    yield SPACE
    netns.delete(SPACE)


class PaperTable:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self.buried: list[int] = []

    def cut(self, endpoint: Endpoint) -> None:
        self.cuts.append(endpoint.id)

    def bury(self, endpoint: Endpoint) -> None:
        self.buried.append(endpoint.id)


def endpoint(number: int) -> Endpoint:
    pod = PodRef("default", f"p{number}")
    return Endpoint(number, f"c{number}", "eth0", "", pod, (parse("10.0.0.1"),), bytes(6), bytes(6), 1500, 300)


def test_devices_go_together_and_their_sandboxes_can_be_waited_for(space: str) -> None:
    async def scenario() -> None:
        table = PaperTable()
        departures = netns.in_netns(space, lambda: Departures(table))  # type: ignore[arg-type]
        with Links(space) as links:
            for number in range(1, 21):
                one = endpoint(number)
                links.veth(one.host_ifname, f"p{number}", index=one.ifindex, peer_index=1000 + number)
            for number in range(1, 21):
                departures.remove(endpoint(number))
            assert table.cuts == list(range(1, 21))
            assert table.buried == []
            await departures.settled("c20", "eth0")
            await departures.settled("never", "eth0")
            assert sorted(table.buried) == table.cuts
            assert links.index("gh1") == links.index("gh14") == 0
        assert len(departures) == 0
        await departures.stop()

    asyncio.run(scenario())


def test_many_devices_that_are_gone_already(space: str) -> None:
    async def scenario() -> None:
        table = PaperTable()
        departures = netns.in_netns(space, lambda: Departures(table))  # type: ignore[arg-type]
        for number in range(1, 601):
            departures.remove(endpoint(number))
        await asyncio.wait_for(departures.drained(), 10)
        assert len(table.buried) == 600
        await departures.stop()

    asyncio.run(scenario())


def test_a_batch_of_failures_leaves_the_socket_usable(space: str) -> None:
    with netns.socket_in(space) as wire:
        batch = netlink.Batch()
        for number in range(3000):
            batch.add(netlink.RTM_NEWLINK, 0, f"device {number}", netlink.ifinfo(500_000 + number))
        for _ in range(2):
            with pytest.raises(NetlinkError, match="device 0") as caught:
                wire.run(batch)
            assert caught.value.errno == errno.ENODEV
        wire.one(netlink.RTM_NEWLINK, 0, "lo up", netlink.ifinfo(1, netlink.IFF_UP, netlink.IFF_UP))
