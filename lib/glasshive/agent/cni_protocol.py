"""CNI as data: requests, results and errors of the specification 1.1, and of the versions it still allows. Pure.

Source: the CNI specification (containernetworking/cni, SPEC.md), whose field names and codes these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Self

from glasshive.errors import GlasshiveError
from glasshive.model.address import is_ipv4, render
from glasshive.model.endpoint import Endpoint

CURRENT = "1.1.0"
SUPPORTED = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
COMMANDS = ("ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION")
VALID_ATTACHMENTS = "cni.dev/valid-attachments"


class Code(IntEnum):
    """Error codes. Up to 99 they are the specification's, from 100 on our own."""

    INCOMPATIBLE_VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    INVALID_ENVIRONMENT = 4
    IO_FAILURE = 5
    DECODING_FAILURE = 6
    INVALID_CONFIG = 7
    TRY_AGAIN_LATER = 11
    NOT_AVAILABLE = 50
    LIMITED_CONNECTIVITY = 51
    EXHAUSTED = 100
    KERNEL = 101
    CHECK_FAILED = 102


class CniError(GlasshiveError):
    """A request that cannot be done, in CNI's terms."""

    def __init__(self, code: Code, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    def to_json(self, version: str = CURRENT) -> dict[str, Any]:
        """The error result that the runtime reads."""
        result: dict[str, Any] = {"cniVersion": version, "code": int(self.code), "msg": self.message}
        if self.details:
            result["details"] = self.details
        return result


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the plugin. ``args`` are those of CNI_ARGS (``K8S_POD_NAME`` ...)."""

    command: str
    container_id: str = ""
    netns: str = ""
    ifname: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The request of its JSON form on node.sock; CniError names what is missing or wrong."""
        if not isinstance(data, Mapping):
            raise CniError(Code.DECODING_FAILURE, "a CNI request is a JSON object")
        command = data.get("command", "")
        if command not in COMMANDS:
            raise CniError(
                Code.INVALID_ENVIRONMENT, f"CNI_COMMAND is {command!r}", f"known commands: {', '.join(COMMANDS)}"
            )
        config, args = data.get("config") or {}, data.get("args") or {}
        if not isinstance(config, Mapping) or not isinstance(args, Mapping):
            raise CniError(Code.DECODING_FAILURE, "config and args of a CNI request are JSON objects")
        request = cls(
            command=command,
            container_id=str(data.get("containerId") or ""),
            netns=str(data.get("netns") or ""),
            ifname=str(data.get("ifname") or ""),
            args={str(key): str(value) for key, value in args.items()},
            config=config,
        )
        request._require()
        return request

    @property
    def version(self) -> str:
        """CNI version of the configuration, and so of the result."""
        return str(self.config.get("cniVersion") or CURRENT)

    def _require(self) -> None:
        if self.version not in SUPPORTED:
            raise CniError(
                Code.INCOMPATIBLE_VERSION, f"cniVersion {self.version} is not supported", f"use {', '.join(SUPPORTED)}"
            )
        needed = {
            "ADD": {"CNI_CONTAINERID": self.container_id, "CNI_NETNS": self.netns, "CNI_IFNAME": self.ifname},
            "CHECK": {"CNI_CONTAINERID": self.container_id, "CNI_NETNS": self.netns, "CNI_IFNAME": self.ifname},
            "DEL": {"CNI_CONTAINERID": self.container_id, "CNI_IFNAME": self.ifname},
        }.get(self.command, {})
        missing = [name for name, value in needed.items() if not value]
        if missing:
            raise CniError(Code.INVALID_ENVIRONMENT, f"{self.command} needs {', '.join(missing)}")
        if self.ifname and (len(self.ifname) > 15 or "/" in self.ifname or self.ifname in (".", "..")):
            raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_IFNAME {self.ifname!r} is not an interface name")
        if "/" in self.container_id or "\0" in self.container_id:
            raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_CONTAINERID {self.container_id!r} has forbidden characters")

    def attachments(self) -> list[tuple[str, str]]:
        """GC: the attachments that are still wanted, as (container id, interface name)."""
        wanted = self.config.get(VALID_ATTACHMENTS)
        if not isinstance(wanted, list):
            raise CniError(Code.INVALID_CONFIG, f"GC needs the list {VALID_ATTACHMENTS} in its configuration")
        try:
            return [(str(each["containerID"]), str(each["ifname"])) for each in wanted]
        except (KeyError, TypeError) as error:
            raise CniError(Code.INVALID_CONFIG, f"{VALID_ATTACHMENTS} holds containerID and ifname pairs") from error


def result(endpoint: Endpoint, gateways: tuple[str, str], version: str) -> dict[str, Any]:
    """The result of an ADD: both ends of the link, the addresses, and default routes through the router."""
    host = {"name": endpoint.host_ifname, "mac": endpoint.host_mac.hex(":")}
    pod = {"name": endpoint.ifname, "mac": endpoint.mac.hex(":"), "sandbox": endpoint.netns}
    if version == CURRENT:
        host["mtu"] = pod["mtu"] = endpoint.mtu  # type: ignore[assignment]  # JSON: numbers beside texts
    ips, routes = [], []
    for address in endpoint.addresses:
        ipv4 = is_ipv4(address)
        gateway = gateways[0] if ipv4 else gateways[1]
        entry: dict[str, Any] = {
            "interface": 1,
            "address": f"{render(address)}/{32 if ipv4 else 128}",
            "gateway": gateway,
        }
        if version.startswith("0."):
            entry["version"] = "4" if ipv4 else "6"
        ips.append(entry)
        routes.append({"dst": "0.0.0.0/0" if ipv4 else "::/0", "gw": gateway})
    return {"cniVersion": version, "interfaces": [host, pod], "ips": ips, "routes": routes, "dns": {}}


def versions() -> dict[str, Any]:
    """The result of VERSION."""
    return {"cniVersion": CURRENT, "supportedVersions": list(SUPPORTED)}
