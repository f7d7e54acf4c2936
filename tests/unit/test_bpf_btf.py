"""BTF is built here byte by byte, so that the parser and the dtypes are checked against C's own rules."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshive.bpf import btf as btf_module
from glasshive.bpf.btf import Btf, Kind
from glasshive.bpf.layout import dtype, dtype_of, element_dtype, to_records
from glasshive.errors import NotFoundError, UsageError


@dataclass
class Writer:
    """Writes BTF. Every method returns the new type's id."""

    strings: bytes = b"\0"
    body: bytes = b""
    count: int = 0
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)  # id -> (size, alignment)

    def text(self, name: str) -> int:
        if not name:
            return 0
        at = len(self.strings)
        self.strings += name.encode() + b"\0"
        return at

    def add(self, kind: Kind, name: str, third: int, extra: bytes = b"", *, count: int = 0, flag: bool = False) -> int:
        info = kind << 24 | count | (1 << 31 if flag else 0)
        self.body += struct.pack("=III", self.text(name), info, third) + extra
        self.count += 1
        return self.count

    def integer(self, size: int, *, signed: bool = False, name: str = "") -> int:
        made = self.add(Kind.INT, name or f"int{size}", size, struct.pack("=I", (1 << 24 if signed else 0) | size * 8))
        self.sizes[made] = (size, size)
        return made

    def typedef(self, name: str, target: int) -> int:
        made = self.add(Kind.TYPEDEF, name, target)
        self.sizes[made] = self.sizes[target]
        return made

    def array(self, target: int, count: int) -> int:
        made = self.add(Kind.ARRAY, "", 0, struct.pack("=III", target, target, count))
        self.sizes[made] = (self.sizes[target][0] * count, self.sizes[target][1])
        return made

    def struct_(self, name: str, members: list[tuple[str, int]], *, union: bool = False) -> tuple[int, list[int]]:
        at, widest, offsets = 0, 1, []
        for _, member in members:
            size, alignment = self.sizes[member]
            widest = max(widest, alignment)
            start = 0 if union else -(-at // alignment) * alignment
            offsets.append(start)
            at = max(at, size) if union else start + size
        size = -(-at // widest) * widest
        rows = b"".join(
            struct.pack("=III", self.text(label), member, offset * 8)
            for (label, member), offset in zip(members, offsets, strict=True)
        )
        made = self.add(Kind.UNION if union else Kind.STRUCT, name, size, rows, count=len(members))
        self.sizes[made] = (size, widest)
        return made, offsets

    def bytes(self) -> bytes:
        head = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.body), len(self.body), len(self.strings))
        return head + self.body + self.strings


@st.composite
def described_structs(draw: st.DrawFn) -> tuple[bytes, int, list[tuple[str, int, int]]]:
    """BTF with one struct "record": (bytes, size, [(field, offset, size)])."""
    w = Writer()
    leaves = [w.integer(size, signed=signed) for size in (1, 2, 4, 8) for signed in (False, True)]
    leaves += [w.typedef(f"__be{8 * size}", w.integer(size)) for size in (2, 4, 8)]
    choices = list(leaves)
    for i in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            choices.append(w.array(draw(st.sampled_from(choices)), draw(st.integers(1, 5))))
        else:
            members = [(f"m{j}", draw(st.sampled_from(choices))) for j in range(draw(st.integers(1, 4)))]
            choices.append(w.struct_(f"inner{i}", members, union=draw(st.booleans()))[0])
    members = [(f"f{j}", draw(st.sampled_from(choices))) for j in range(draw(st.integers(1, 6)))]
    made, offsets = w.struct_("record", members)
    expected = [(name, at, w.sizes[t][0]) for (name, t), at in zip(members, offsets, strict=True)]
    return w.bytes(), w.sizes[made][0], expected


@given(described_structs())
@settings(max_examples=150, deadline=None)
def test_struct_has_the_offsets_and_size_of_c(described: tuple[bytes, int, list[tuple[str, int, int]]]) -> None:
    data, size, expected = described
    made = dtype_of(Btf(data), "record")
    assert made.itemsize == size
    assert made.fields is not None
    assert [(name, made.fields[name][1], made.fields[name][0].itemsize) for name in made.names or ()] == expected


@given(described_structs(), st.data())
@settings(max_examples=100, deadline=None)
def test_bytes_survive_the_way_through_records(
    described: tuple[bytes, int, list[tuple[str, int, int]]], data: st.DataObject
) -> None:
    raw_btf, size, _ = described
    made = dtype_of(Btf(raw_btf), "record")
    raw = data.draw(st.binary(min_size=size, max_size=size))
    record = to_records(made, raw)
    assert record.tobytes() == raw
    assert to_records(made, record[0]).tobytes() == raw
    assert to_records(made, [raw, raw]).tobytes() == raw + raw


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(-(2**15), 2**15 - 1),
    st.binary(min_size=6, max_size=6),
)
def test_values_are_written_as_c_would(address: int, port: int, delta: int, mac: bytes) -> None:
    w = Writer()
    be32, be16 = w.typedef("__be32", w.integer(4)), w.typedef("__be16", w.integer(2))
    members = [("addr", be32), ("port", be16), ("delta", w.integer(2, signed=True)), ("mac", w.array(w.integer(1), 6))]
    w.struct_("record", members)
    made = dtype_of(Btf(w.bytes()), "record")
    expected = struct.pack(">IH", address, port) + struct.pack("=h", delta) + mac + bytes(2)
    assert to_records(made, {"addr": address, "port": port, "delta": delta, "mac": mac}).tobytes() == expected
    assert to_records(made, (address, port, delta, list(mac))).tobytes() == expected


def test_anonymous_members_become_fields_of_their_struct() -> None:
    w = Writer()
    u8, u32 = w.integer(1), w.integer(4)
    inner, _ = w.struct_("", [("low", u8), ("high", u8)], union=True)
    w.struct_("record", [("id", u32), ("", inner)])
    made = dtype_of(Btf(w.bytes()), "record")
    assert made.names == ("id", "low", "high")
    assert made.fields is not None
    assert made.fields["low"][1] == made.fields["high"][1] == 4


def test_enum_members_keep_their_names_and_signs() -> None:
    w = Writer()
    rows = struct.pack("=Ii", w.text("MINUS"), -1) + struct.pack("=Ii", w.text("SEVEN"), 7)
    w.add(Kind.ENUM, "numbers", 4, rows, count=2, flag=True)
    found = Btf(w.bytes())
    numbers = btf_module.enum(found, "numbers")
    assert numbers(7).name == "SEVEN"
    assert numbers["MINUS"] == -1
    assert dtype_of(found, "numbers") == np.dtype("i4")


def test_bare_array_of_a_map_gets_a_field() -> None:
    w = Writer()
    array = w.array(w.integer(4), 3)
    assert element_dtype(Btf(w.bytes()), array, 12).names == ("elements",)


def test_size_that_btf_does_not_explain_is_raw_bytes() -> None:
    assert element_dtype(None, 0, 12) == np.dtype("V12")
    assert element_dtype(None, 0, 4) == np.dtype("u4")


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", b"no BTF at all, but long enough to be read", bytes(64)])
def test_what_is_not_btf_is_said_so(data: bytes) -> None:
    with pytest.raises(UsageError, match="not valid BTF"):
        Btf(data)


@given(described_structs(), st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_btf_never_breaks_the_parser(
    described: tuple[bytes, int, list[tuple[str, int, int]]], data: st.DataObject
) -> None:
    raw = bytearray(described[0])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UsageError):
        Btf(bytes(raw))


def test_unknown_names_are_named() -> None:
    w = Writer()
    w.struct_("record", [("id", w.integer(4)), ("port", w.integer(2))])
    found = Btf(w.bytes())
    with pytest.raises(NotFoundError, match="nothing_like_it"):
        found.find("nothing_like_it")
    made = dtype(found, found.find("record").id)
    with pytest.raises(UsageError, match=r"no field ports \(fields are id, port\)"):
        to_records(made, {"ports": 1})
    with pytest.raises(UsageError, match="3 values for 2 fields"):
        to_records(made, (1, 2, 3))
    with pytest.raises(UsageError, match="5 bytes for a value of 8 bytes"):
        to_records(made, b"12345")
