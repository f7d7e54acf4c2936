"""Writes ``protobuf.json``: field numbers of the built-in kinds, read from the type information inside kubectl.

Clients written in Go (kubectl's ``create``, ``drain``, ``auth``; most controllers) send built-in objects in the
protobuf form. Its field numbers are in no Python package, but kubectl is a Go program: its binary carries, for
reflection, every struct with its fields' types and tags. Run ``python -m glasshive.kube.server.protobuf_build`` after
kubectl was updated.

Layout of Go's type descriptors: https://go.dev/src/internal/abi/type.go (64-bit, little-endian; offsets below are
bytes).

Form of the file: ``kinds`` maps ``apiVersion/Kind`` to a type, ``types`` a type to its fields by number, each ``[name,
code]``. Codes: ``str bool int float bytes time micro quantity intstr raw skip``, ``[X``, ``{X``, or a type; the name ""
means that the fields belong to the parent. A code that begins with ``?`` is left out when it is zero or empty: the
protobuf form writes such values where JSON would not.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path
from typing import Any

from glasshive.api.resources import BUILTIN

OUTPUT = Path(__file__).with_name("protobuf.json")
_BOOL, _INTS, _FLOATS, _MAP, _POINTER, _SLICE, _STRING, _STRUCT = 1, range(2, 13), (13, 14), 21, 22, 23, 24, 25
_UINT8 = 8
_META = "k8s.io/apimachinery/pkg/apis/meta/v1."
_SPECIAL = {
    _META + "Time": "time",
    _META + "MicroTime": "micro",
    _META + "FieldsV1": "raw",
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "quantity",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "intstr",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "raw",
}
_EXTRA_KINDS = ("autoscaling/v1/Scale", "policy/v1/Eviction", "authentication.k8s.io/v1/TokenRequest")
#: Types that applying CRDs needs, and those are always sent as JSON.
_LEFT_OUT = re.compile(r"k8s\.io/apiextensions-apiserver/.*")


class GoBinary:
    """The read-only part of a Go executable (ELF, not position-independent) that holds its types."""

    def __init__(self, path: Path) -> None:
        self._image = path.read_bytes()
        sections = self._sections()
        self._base, self._offset, _ = sections[".rodata"]
        _, links, size = sections[".typelink"]
        self._links = struct.unpack_from(f"<{size // 4}i", self._image, links)

    def _sections(self) -> dict[str, tuple[int, int, int]]:
        table, entry, count, names = struct.unpack_from("<Q10xHHH", self._image, 0x28)
        raw = [struct.unpack_from("<II4Q", self._image, table + n * entry) for n in range(count)]
        strings = raw[names][4]

        def name(at: int) -> str:
            return self._image[strings + at : self._image.index(b"\0", strings + at)].decode()

        return {name(section[0]): (section[3], section[4], section[5]) for section in raw}

    def _at(self, address: int) -> int:
        return address - self._base + self._offset

    def unpack(self, form: str, address: int) -> tuple[int, ...]:
        """Numbers at an address."""
        return struct.unpack_from("<" + form, self._image, self._at(address))

    def _text(self, at: int) -> tuple[str, int]:
        length = shift = 0
        while True:
            byte = self._image[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return self._image[at : at + length].decode(), at + length

    def name(self, address: int) -> tuple[str, str]:
        """A name and its tag."""
        at = self._at(address)
        text, end = self._text(at + 1)
        return text, self._text(end)[0] if self._image[at] & 2 else ""

    def kind(self, address: int) -> int:
        """The kind of the type at an address."""
        return self.unpack("B", address + 23)[0] & 31

    def element(self, address: int) -> int:
        """What a pointer, slice or (second) a map holds."""
        return self.unpack("Q", address + (56 if self.kind(address) == _MAP else 48))[0]

    def full_name(self, address: int) -> str:
        """``package/path.Type``, "" for a type without a name."""
        flags = self.unpack("B", address + 20)[0]
        if not flags & 4:
            return ""
        text, _ = self.name(self._base + self.unpack("i", address + 40)[0])
        size = 80 if self.kind(address) == _STRUCT else 56 if self.kind(address) in {_SLICE, _POINTER} else 48
        if self.kind(address) == _MAP or not flags & 1:
            return text.lstrip("*")
        package, _ = self.name(self._base + self.unpack("i", address + size)[0])
        return f"{package}.{text.rpartition('.')[2]}"

    def structs(self) -> dict[str, int]:
        """Addresses of all named structs that something points to."""
        found = {}
        for link in self._links:
            address = self._base + link
            if self.kind(address) == _POINTER and self.kind(target := self.element(address)) == _STRUCT:
                found[self.full_name(target)] = target
        return found

    def fields(self, address: int) -> list[tuple[str, str, int]]:
        """Name, tag and type address of each field of a struct."""
        start, count = self.unpack("QQ", address + 56)
        rows = [self.unpack("QQ", start + 24 * n) for n in range(count)]
        return [(*self.name(name), kind) for name, kind in rows]


def _code(binary: GoBinary, address: int, wanted: dict[str, int]) -> str:
    kind, name = binary.kind(address), ""
    if kind == _POINTER:
        return _code(binary, binary.element(address), wanted)
    if kind == _STRUCT:
        name = binary.full_name(address)
        if name in _SPECIAL:
            return _SPECIAL[name]
        if _LEFT_OUT.fullmatch(name):
            return "skip"
        wanted[name] = address
        return name
    if kind == _SLICE:
        item = binary.element(address)
        return "bytes" if binary.kind(item) == _UINT8 else "[" + _code(binary, item, wanted)
    if kind == _MAP:
        return "{" + _code(binary, binary.element(address), wanted)
    if kind == _BOOL:
        return "bool"
    return "int" if kind in _INTS else "float" if kind in _FLOATS else "str" if kind == _STRING else "skip"


def build(kubectl: Path) -> dict[str, Any]:
    """The content of the file."""
    binary = GoBinary(kubectl)
    structs = binary.structs()
    kinds, wanted = {}, dict[str, int]()
    for name in [f"{r.api_version}/{r.kind}" for r in BUILTIN] + list(_EXTRA_KINDS):
        *group, version, kind = name.split("/")
        package = f"k8s.io/api/{group[0].split('.')[0] if group else 'core'}/{version}"
        if f"{package}.{kind}" in structs:
            kinds[name] = f"{package}.{kind}"
            wanted[kinds[name]] = structs[kinds[name]]
    kinds["v1/DeleteOptions"] = _META + "DeleteOptions"
    wanted[kinds["v1/DeleteOptions"]] = structs[kinds["v1/DeleteOptions"]]
    types: dict[str, dict[str, list[str]]] = {}
    while wanted:
        name, address = wanted.popitem()
        if name in types:
            continue
        types[name] = {}
        for _, tag, held in binary.fields(address):
            number = re.search(r'protobuf:"\w+,(\d+)', tag)
            label = re.search(r'json:"([^",]*)', tag)
            if number and label and label[1] != "-":
                optional = binary.kind(held) != _POINTER and ("omitempty" in tag or binary.kind(held) == _STRUCT)
                types[name][number[1]] = [label[1], ("?" if optional else "") + _code(binary, held, wanted)]
    return {"kinds": kinds, "types": dict(sorted(types.items()))}


if __name__ == "__main__":
    content = build(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(sys.executable).with_name("kubectl"))
    OUTPUT.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes, {len(content['kinds'])} kinds")
