"""Maps of every kind the datapath uses, against dict as the model; and the reconciler on real maps."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bpf_objects
from glasshive import bpf
from glasshive.bpf import batch, syscall
from glasshive.bpf.fake import FakeMap
from glasshive.bpf.uapi import MapType
from glasshive.errors import BpfError, ExhaustedError, NotFoundError, UsageError
from glasshive.maps import Changes, reconcile

pytestmark = pytest.mark.root
SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
tables = st.dictionaries(st.integers(0, 99), st.integers(0, 3), max_size=60)


@pytest.fixture(scope="module")
def obj() -> Iterator[bpf.LoadedObject]:
    with bpf.ObjectSpec.open(bpf_objects.compiled("slice")).load() as loaded:
        yield loaded


@pytest.fixture(params=["hash", "lru_hash", "fake"])
def numbers(request: pytest.FixtureRequest) -> Iterator[bpf.Map]:
    if request.param == "fake":
        yield FakeMap(MapType.HASH, np.dtype("u4"), np.dtype("u8"), 5000)
        return
    with bpf.Map.create(MapType[request.param.upper()], 4, 8, 5000, name="a_numbers") as made:
        yield made


@pytest.fixture(params=["kernel", "fake"])
def trie(request: pytest.FixtureRequest, obj: bpf.LoadedObject) -> bpf.Map:
    return obj.maps["prefixes"] if request.param == "kernel" else FakeMap.of(obj.spec, "prefixes")


def test_values_in_every_spelling(obj: bpf.LoadedObject) -> None:
    entries = obj.maps["entries"]
    key = {"bytes": bytes(range(16))}
    entries.update(key, {"packets": 7, "addr_be": 0x0A000001, "port_be": 80, "delta": -3, "color": 7, "right": 9})
    found = entries.get(bytes(range(16)))
    assert (found["packets"], found["addr_be"], found["port_be"], found["delta"], found["right"]) == (
        7, 0x0A000001, 80, -3, 9,
    )  # fmt: skip
    entries.update([bytes(16), b"\1" * 16], found)  # one value for both
    entries.update(entries.keys(), entries.items()[1])
    assert entries.get(b"\1" * 16) == found
    assert entries.delete([bytes(16), b"\2" * 16]) == 1
    assert entries.clear() == 2
    assert entries.items()[0].shape == (0,)
    assert entries.update([], []) == 0
    assert entries.delete([]) == 0


def test_look_up_of_an_absent_key_is_none(obj: bpf.LoadedObject) -> None:
    assert obj.maps["entries"].get(b"\xff" * 16) is None


def test_flags_say_new_or_known(numbers: bpf.Map) -> None:
    numbers.update(1, 10, bpf.NOEXIST)
    with pytest.raises(BpfError) as caught:
        numbers.update([2, 1], [20, 11], bpf.NOEXIST)
    assert caught.value.errno == errno.EEXIST
    assert numbers.get(2) == 20
    assert numbers.get(1) == 10
    with pytest.raises(BpfError) as caught:
        numbers.update(3, 30, bpf.EXIST)
    assert caught.value.errno == errno.ENOENT


def test_absent_keys_can_be_an_error(numbers: bpf.Map) -> None:
    numbers.update([1, 2, 3], [1, 2, 3])
    assert numbers.delete([1, 50, 2]) == 2
    with pytest.raises(NotFoundError, match="has no key 60"):
        numbers.delete([3, 60], missing_ok=False)


@pytest.mark.parametrize("fake", [False, True])
def test_full_map_says_so(fake: bool) -> None:
    u4 = np.dtype("u4")
    made = (
        FakeMap(MapType.HASH, u4, u4, 10, name="a_small")
        if fake
        else bpf.Map.create(MapType.HASH, 4, 4, 10, name="a_small")
    )
    with made as small, pytest.raises(ExhaustedError) as caught:
        small.update(np.arange(50, dtype="u4"), np.uint32(1))
    assert "a_small is full: 10 entries" in str(caught.value)


def test_more_entries_than_one_batch() -> None:
    count = 150_000
    with bpf.Map.create(MapType.HASH, 4, 8, count, name="a_large") as large:
        keys = np.arange(count, dtype="u4")
        assert large.update(keys, keys.astype("u8") * 3) == count
        found, values = large.items()
        assert len(found) == count
        assert (values == found.astype("u8") * 3).all()
        assert large.delete(found[::2]) == count // 2
        assert large.clear() == count // 2


@pytest.mark.parametrize("kind", [MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH])
@pytest.mark.parametrize("size", [1, 4, 8])
def test_per_cpu_values(kind: MapType, size: int) -> None:
    cpus = syscall.possible_cpus()
    fake = FakeMap(kind, np.dtype("u4"), np.dtype(f"u{size}"), 16)
    with bpf.Map.create(kind, 4, size, 16, name="a_percpu") as kernel:
        _check_per_cpu(kernel, cpus, size)
        _check_per_cpu(fake, cpus, size)


def _check_per_cpu(made: bpf.Map, cpus: int, size: int) -> None:
    made.update([1, 2], [10, 20])
    assert made.get(2).tolist() == [20] * cpus
    each = np.arange(2 * cpus, dtype=f"u{size}").reshape(2, cpus)
    made.update([1, 2], each)
    keys, values = made.items()
    assert values.shape == (len(keys), cpus)
    assert dict(zip(keys.tolist(), values.tolist(), strict=True))[2] == each[1].tolist()
    with pytest.raises(UsageError, match="3 values for 1 keys"):
        made.update(1, [1] * 3 if cpus != 3 else [1] * 4)


@pytest.mark.parametrize("fake", [False, True])
def test_array_keeps_its_keys(fake: bool) -> None:
    u4 = np.dtype("u4")
    made = FakeMap(MapType.ARRAY, u4, u4, 8) if fake else bpf.Map.create(MapType.ARRAY, 4, 4, 8, name="a_array")
    with made as array:
        array.update([2, 5], [7, 8])
        assert array.items()[1].tolist() == [0, 0, 7, 0, 0, 8, 0, 0]
        assert array.clear() == 8
        assert not array.items()[1].any()
        with pytest.raises(BpfError):
            array.delete(2)


def test_dump_without_batches_is_the_same(numbers: bpf.Map, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers.update(np.arange(100, dtype="u4"), np.arange(100, dtype="u8"))
    monkeypatch.setattr(batch, "_batch", lambda *_a, **_k: (-syscall.ENOTSUPP, 0))
    keys, values = numbers.items()
    assert sorted(zip(keys.tolist(), values.tolist(), strict=True)) == [(i, i) for i in range(100)]
    assert numbers.update([200, 201], [1, 2]) == 2
    assert numbers.delete([200, 201, 202]) == 2


@given(tables)
@SOME
def test_map_is_a_dict(numbers: bpf.Map, table: dict[int, int]) -> None:
    numbers.clear()
    numbers.update(list(table), list(table.values()))
    keys, values = numbers.items()
    assert dict(zip(keys.tolist(), values.tolist(), strict=True)) == table


@given(tables, tables)
@SOME
def test_reconcile_makes_equal(numbers: bpf.Map, before: dict[int, int], after: dict[int, int]) -> None:
    numbers.clear()
    numbers.update(list(before), list(before.values()))
    changes = reconcile(numbers, (list(after), list(after.values())))
    keys, values = numbers.items()
    assert dict(zip(keys.tolist(), values.tolist(), strict=True)) == after
    assert changes == Changes(
        len(after.keys() - before.keys()),
        sum(before[k] != after[k] for k in before.keys() & after.keys()),
        len(before.keys() - after.keys()),
    )
    assert reconcile(numbers, (list(after), list(after.values()))) == Changes(0, 0, 0)


prefixes = st.dictionaries(
    st.builds(lambda a, n: ipaddress.IPv4Interface((a, n)), st.integers(0x0A000000, 0x0A0000FF), st.integers(24, 32)),
    st.integers(0, 3),
    max_size=20,
)


@given(prefixes, prefixes)
@SOME
def test_reconcile_of_prefixes_ignores_their_host_bits(
    trie: bpf.Map, before: dict[ipaddress.IPv4Interface, int], after: dict[ipaddress.IPv4Interface, int]
) -> None:
    trie.clear()
    trie.update([_prefix(p) for p in before], list(before.values()))
    wanted = {p.network: (p, value) for p, value in after.items()}
    reconcile(trie, ([_prefix(p) for p, _ in wanted.values()], [value for _, value in wanted.values()]))
    keys, values = trie.items()
    found = {
        ipaddress.ip_network((bytes(key["addr"]["bytes"])[:4], int(key["prefixlen"])), strict=False): value
        for key, value in zip(keys, values.tolist(), strict=True)
    }
    assert found == {network: value for network, (_, value) in wanted.items()}


@given(prefixes, st.integers(0x0A000000, 0x0A0000FF))
@SOME
def test_most_specific_prefix_is_found(trie: bpf.Map, table: dict[ipaddress.IPv4Interface, int], address: int) -> None:
    trie.clear()
    trie.update([_prefix(p) for p in table], list(table.values()))
    by_network = {p.network: value for p, value in table.items()}
    covering = [n for n in by_network if ipaddress.IPv4Address(address) in n]
    expected = by_network[max(covering, key=lambda n: n.prefixlen)] if covering else None
    assert trie.get(_prefix(ipaddress.IPv4Interface((address, 32)))) == expected


def test_prefix_longer_than_the_address_is_refused(trie: bpf.Map) -> None:
    with pytest.raises(BpfError) as caught:
        trie.update({"prefixlen": 129}, 1)
    assert caught.value.errno == errno.EINVAL


def _prefix(p: ipaddress.IPv4Interface) -> dict[str, object]:
    return {"prefixlen": p.network.prefixlen, "addr": {"bytes": p.ip.packed + bytes(12)}}


def test_reconcile_of_a_full_map_makes_room_first() -> None:
    with bpf.Map.create(MapType.HASH, 4, 4, 100, name="a_full") as full:
        full.update(np.arange(100, dtype="u4"), np.uint32(1))
        assert reconcile(full, (np.arange(50, 150, dtype="u4"), np.full(100, 1, "u4"))) == Changes(50, 0, 50)
        assert sorted(full.keys().tolist()) == list(range(50, 150))
        with pytest.raises(ExhaustedError, match="holds 100 entries, 101 are wanted"):
            reconcile(full, (np.arange(101, dtype="u4"), np.uint32(1)))


def test_reconcile_refuses_what_it_cannot_do(obj: bpf.LoadedObject) -> None:
    with pytest.raises(UsageError, match="cannot be reconciled"):
        reconcile(obj.maps["per_cpu"], ([], []))
    with pytest.raises(UsageError, match="wanted with two different values"):
        reconcile(obj.maps["prefixes"], ([_prefix(ipaddress.IPv4Interface("10.0.0.0/8"))] * 2, [1, 2]))


def test_map_of_another_process_by_id(obj: bpf.LoadedObject) -> None:
    with bpf.Map.by_id(obj.maps["entries"].id) as same:
        assert same.key_dtype == obj.maps["entries"].key_dtype
        assert same.name == "entries"
