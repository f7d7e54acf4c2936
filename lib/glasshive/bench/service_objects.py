"""Services and EndpointSlices as an API server tells them, in any number: for benchmarks, as JSON of their lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from glasshive.api.resources import ENDPOINT_SLICE, SERVICE

ENDPOINTS = 4
PORT, TARGET = 80, 8080
CREATED = "2026-01-01T00:00:00Z"


def cluster_ip(number: int) -> str:
    """Address of Service ``number``, from 10.96.0.0/12."""
    return f"10.{96 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def endpoint_ip(number: int) -> str:
    """Address of endpoint ``number``, from 10.128.0.0/9."""
    return f"10.{128 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def services(count: int) -> Iterator[dict[str, Any]]:
    """ClusterIP Services ``s0`` and so on, with the fields that a server fills in."""
    for number in range(count):
        address = cluster_ip(number + 256)
        yield SERVICE.object(
            f"s{number}", "bench",
            metadata=_metadata(number, {"app": f"a{number}"}),
            spec={
                "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
                "selector": {"app": f"a{number}"},
                "ports": [{"name": "http", "protocol": "TCP", "port": PORT, "targetPort": TARGET}],
            },
            status={"loadBalancer": {}},
        )  # fmt: skip


def slices(count: int, endpoints: int = ENDPOINTS) -> Iterator[dict[str, Any]]:
    """Their EndpointSlices, ``endpoints`` pods each."""
    for number in range(count):
        first = number * endpoints + 256
        yield slice_of(number, [endpoint_ip(first + at) for at in range(endpoints)])


def slice_of(number: int, addresses: list[str]) -> dict[str, Any]:
    """The EndpointSlice of Service ``s<number>``."""
    ready = {"ready": True, "serving": True, "terminating": False}
    return ENDPOINT_SLICE.object(
        f"s{number}-x", "bench",
        metadata=_metadata(number, {"kubernetes.io/service-name": f"s{number}"}),
        addressType="IPv4",
        endpoints=[
            {
                "addresses": [address], "conditions": ready, "nodeName": f"node{at}",
                "targetRef": {"kind": "Pod", "namespace": "bench", "name": f"p{number}-{at}", "uid": f"{number}-{at}"},
            }
            for at, address in enumerate(addresses)
        ],
        ports=[{"name": "http", "protocol": "TCP", "port": TARGET}],
    )  # fmt: skip


def _metadata(number: int, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "uid": f"00000000-0000-0000-0000-{number:012d}",
        "resourceVersion": str(number + 1),
        "creationTimestamp": CREATED,
        "labels": labels,
    }
