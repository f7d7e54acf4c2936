"""The protobuf form: what a Go client sends reads like JSON; nothing unreadable gets further than a Status.

Two tables that are kept by hand or by file are compared with the facts inside the installed kubectl.
"""

import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.kube.server import protobuf, protobuf_build, schema_build
from glasshive.kube.server.schema_lists import MERGE_KEYS
from glasshive.kube.server.status import StatusError

KUBECTL = Path(sys.executable).with_name("kubectl")
needs_kubectl = pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl is not installed beside this Python")


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: Any) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*fields: tuple[int, Any]) -> bytes:
    return b"".join(field(number, value) for number, value in fields)


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\0" + message((1, message((1, api_version), (2, kind))), (2, raw), (3, ""), (4, ""))


def entry(key: str, value: Any) -> bytes:
    return message((1, key), (2, value))


def test_config_map() -> None:
    meta = message((1, "a"), (3, ""), (7, 0), (8, message((1, 0))), (11, entry("x", "y")), (14, "f.io/z"))
    body = envelope("v1", "ConfigMap", message((1, meta), (2, entry("k", "v")), (3, entry("b", b"\xff")), (4, 1)))
    assert protobuf.parse(body) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "labels": {"x": "y"}, "finalizers": ["f.io/z"]},
        "data": {"k": "v"},
        "binaryData": {"b": "/w=="},
        "immutable": True,
    }


def test_times_quantities_and_inlined_structs() -> None:
    stamp = message((1, 1_700_000_000), (2, 123_456_789))
    lease = message((1, message((1, "l"))), (2, message((1, "me"), (2, 15), (4, stamp))))
    spec = protobuf.parse(envelope("coordination.k8s.io/v1", "Lease", lease))["spec"]
    assert spec == {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2023-11-14T22:13:20.123456Z"}
    types = protobuf._file()["types"]
    volume = {name: int(n) for n, (name, _) in types["k8s.io/api/core/v1.VolumeSource"].items()}
    limits = message((1, entry("cpu", message((1, "100m")))))
    numbers = {name: int(n) for n, (name, _) in types["k8s.io/api/core/v1.Container"].items()}
    container = message((numbers["name"], "c"), (numbers["resources"], limits))
    pod_spec = message((1, message((1, "v"), (2, message((volume["emptyDir"], b""))))), (2, container))
    spec = protobuf.parse(envelope("v1", "Pod", message((2, pod_spec))))["spec"]
    assert spec["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert spec["containers"] == [{"name": "c", "resources": {"limits": {"cpu": "100m"}}}]


def test_negative_numbers_and_int_or_string() -> None:
    port = message((3, 80), (4, message((1, 1), (2, 0), (3, "http"))))
    other = message((3, 81), (4, message((1, 0), (2, 8080), (3, ""))))
    ports = protobuf.parse(envelope("v1", "Service", message((2, message((1, port), (1, other))))))["spec"]["ports"]
    assert [p["targetPort"] for p in ports] == ["http", 8080]
    kind = protobuf.parse(envelope("scheduling.k8s.io/v1", "PriorityClass", message((2, -5))))
    assert kind["value"] == -5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\0\xff",
        b"k8s\0\x0a\xff\x01",
        envelope("v9", "Pod", b""),
        envelope("v1", "Pod", b"\x0a\x7f"),
        envelope("v1", "Pod", b"\x12\x00\x0b"),
    ],
)
def test_unreadable_bodies(body: bytes) -> None:
    with pytest.raises(StatusError) as caught:
        protobuf.parse(body)
    assert caught.value.code == 400


@given(raw=st.binary(max_size=60), kind=st.sampled_from(["v1/Pod", "v1/Service", "apps/v1/Deployment", "batch/v1/Job"]))
def test_any_bytes_are_read_or_refused(raw: bytes, kind: str) -> None:
    api_version, _, name = kind.rpartition("/")
    with suppress(StatusError):
        json.dumps(protobuf.parse(envelope(api_version, name, raw)))


@needs_kubectl
def test_files_are_up_to_date() -> None:
    assert json.loads(protobuf_build.OUTPUT.read_text()) == protobuf_build.build(KUBECTL)
    assert json.loads(schema_build.OUTPUT.read_text()) == schema_build.build()


@needs_kubectl
def test_merge_keys_are_those_of_the_go_types() -> None:
    known = json.loads(schema_build.OUTPUT.read_text())["types"]
    binary = protobuf_build.GoBinary(KUBECTL)
    told: dict[str, str] = {}

    def walk(address: int, model: str) -> None:
        for _, tag, held in binary.fields(address):
            name = re.search(r'json:"([^",]*)', tag)
            strategy, key = re.search(r'patchStrategy:"([^"]*)"', tag), re.search(r'patchMergeKey:"([^"]*)"', tag)
            if name and not name[1] and binary.kind(held) == 25:
                walk(held, model)
            elif name and strategy and "merge" in strategy[1]:
                told[f"{model}.{name[1]}"] = key[1] if key else ""

    for full_name, address in binary.structs().items():
        found = re.fullmatch(r"k8s\.io/(?:api/[a-z]+|apimachinery/pkg/apis/meta)/(v1|v2)\.(\w+)", full_name)
        if found and (model := found[1].upper() + found[2]) in known:
            walk(address, model)
    assert told == MERGE_KEYS
