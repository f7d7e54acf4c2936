"""Service tables in kernel maps: rows, runs, ranges, Maglev tables and clients, written, read, used by a program."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

import bpf_objects
from glasshive import bpf
from glasshive.agent.services import affinity
from glasshive.maps.services import BackendRow, FrontendRow, ServiceMaps, SetRow
from glasshive.model.address import Prefix, parse
from glasshive.model.service import EndpointSlice, Place, Service, ServiceEndpoint, ServicePort, ServiceRef
from glasshive.service.desired import desired
from glasshive.service.settings import NodeView, ServiceSettings
from glasshive.service.sync import ServiceSync

pytestmark = pytest.mark.root
SETTINGS = ServiceSettings(algorithm="maglev", table_size=251)


@pytest.fixture
def loaded() -> Iterator[bpf.LoadedObject]:
    with bpf.ObjectSpec.open(bpf_objects.compiled("service_maps")).load() as made:
        yield made


@pytest.fixture
def maps(loaded: bpf.LoadedObject) -> ServiceMaps:
    return ServiceMaps(loaded.maps)


def at(text: str, port: int = 80, protocol: int = 6) -> Place:
    return Place(parse(text), port, protocol)


def test_what_is_written_is_read(maps: ServiceMaps) -> None:
    rows = [(3, BackendRow(at("10.0.0.1", 8080), 1, 1, 7, 300)), (65535, BackendRow(at("fd00::1", 53, 17), 4))]
    maps.put_backends(rows[:1])
    maps.put_backends(rows)
    maps.put_slots([(0, (3, 3)), (100, (65535,)), (262143, (3,))])
    one = FrontendRow(SetRow(0, 2), SetRow(100, 1, 9), 4711, 60, 0x1FF, 4)
    maps.put_frontends([(at("192.0.2.1"), one), (at("::", 30000, 132), one._replace(id=2))])
    ranges = [(4711, Prefix.parse("192.0.2.0/24")), (4711, Prefix.parse("2001:db8::/32")), (2, Prefix.parse("::/0"))]
    maps.put_ranges(ranges)
    assert maps.backends() == dict(rows)
    assert maps.slots()[[0, 1, 2, 100, 262143]].tolist() == [3, 3, 0, 65535, 3]
    assert maps.frontends() == {at("192.0.2.1"): one, at("::", 30000, 132): one._replace(id=2)}
    assert sorted(maps.ranges()) == sorted(ranges)
    maps.delete_ranges(ranges[:2])
    maps.delete_frontends([at("192.0.2.1")])
    assert maps.ranges() == ranges[2:]
    assert list(maps.frontends()) == [at("::", 30000, 132)]


def test_a_program_finds_the_backend_in_a_maglev_table(loaded: bpf.LoadedObject, maps: ServiceMaps) -> None:
    program = loaded.programs["slot"]
    look = lambda: np.int32(np.uint32(program.test_run(bytes(64)).retval))  # noqa: E731 - three uses below
    assert look() == -1
    maps.put_table(3, np.arange(100, 351, dtype=np.uint32))
    assert look() == 105
    assert maps.tables is not None
    assert maps.tables.get(3, 251).tolist() == list(range(100, 351))
    maps.put_table(3, np.arange(200, 709, dtype=np.uint32))
    assert look() == 205
    maps.delete_table(3)
    assert look() == -1


def test_the_next_agent_takes_all_of_it_over(maps: ServiceMaps) -> None:
    ref = ServiceRef("default", "web")
    service = Service(
        ref, type="LoadBalancer", cluster_addresses=(parse("10.96.0.1"),), balancer_addresses=(parse("192.0.2.1"),),
        ports=(ServicePort("", 6, 80, 30080),), source_ranged=True, source_ranges=(Prefix.parse("198.51.100.0/24"),),
    )  # fmt: skip
    ends = tuple(ServiceEndpoint(parse(f"10.244.0.{end}")) for end in range(1, 6))
    tables = desired(service, [EndpointSlice(ref, "a", True, (("", 6, 8080),), ends)], NodeView("n"), SETTINGS)
    seen = []
    for _ in range(2):
        sync = ServiceSync(maps, SETTINGS)
        sync.book.set(ref, tables)
        sync.resync()
        assert maps.tables is not None
        row = maps.frontends()[at("192.0.2.1")]
        numbers = np.bincount(maps.tables.get(row.external.table, 251), minlength=6)[1:]
        assert numbers.sum() == 251
        assert numbers.max() <= 55
        assert maps.ranges() == [(row.id, Prefix.parse("198.51.100.0/24"))]
        seen.append((maps.frontends(), maps.backends(), maps.slots().tolist()))
    assert seen[0] == seen[1]


def test_clients_are_forgotten(loaded: bpf.LoadedObject) -> None:
    kernel = loaded.maps["affinity"]
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    keys, values = np.zeros(3, kernel.key_dtype), np.zeros(3, kernel.value_dtype)
    keys["frontend"], values["backend"], values["used_ns"] = (1, 2, 3), (7, 7, 7), now_ns
    kernel.update(keys, values)
    assert affinity.forget(kernel, {1: 60, 2: 60}, {(2, 7)}) == 2
    assert kernel.keys()["frontend"].tolist() == [1]
