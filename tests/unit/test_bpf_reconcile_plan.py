"""The plan against a dict as the model: applied, it turns any table into any other, and touches nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from glasshive.maps.reconcile import masked, plan

KEY, VALUE = np.dtype([("id", "u2"), ("port", ">u2")]), np.dtype("u4")
tables = st.dictionaries(st.integers(0, 40), st.integers(0, 5), max_size=30)


def _arrays(table: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    keys = np.array([(key, key) for key in table], KEY)
    return keys, np.array(list(table.values()), VALUE)


@given(tables, tables)
def test_plan_makes_the_tables_equal(current: dict[int, int], desired: dict[int, int]) -> None:
    todo = plan(_arrays(current), _arrays(desired))
    wanted, had = list(desired), list(current)
    result = dict(current)
    for i in (*todo.add, *todo.update):
        result[wanted[i]] = desired[wanted[i]]
    for i in todo.delete:
        del result[had[i]]
    assert result == desired
    assert {wanted[i] for i in todo.add} == desired.keys() - current.keys()
    assert {wanted[i] for i in todo.update} == {k for k in desired.keys() & current.keys() if desired[k] != current[k]}
    assert {had[i] for i in todo.delete} == current.keys() - desired.keys()


@given(st.lists(st.tuples(st.integers(0, 32), st.binary(min_size=4, max_size=4)), max_size=20))
def test_masked_clears_only_the_bits_behind_the_prefix(rows: list[tuple[int, bytes]]) -> None:
    kind = np.dtype([("prefixlen", "u4"), ("addr", ">u4")])
    keys = np.array([(length, int.from_bytes(addr, "big")) for length, addr in rows], kind)
    found = masked(keys)
    for (length, addr), key in zip(rows, found, strict=True):
        mask = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
        assert key["prefixlen"] == length
        assert key["addr"] == int.from_bytes(addr, "big") & mask
