"""What an embedded cluster is asked to be: checked values, from keyword arguments or from a ``--config`` file.

The file is YAML with the field names of ``_FIELDS``; a mistake is one line that names file, field and what is allowed::

    name: demo
    nodes: 3
    routing: native              # or tunnel
    dataplane: ebpf              # iptables, nftables: kube-proxy's rules instead; or by node: {node3: iptables}
    ipFamilies: [ipv4, ipv6]
    podCIDRs: [10.244.0.0/16, "fd00:10:244::/48"]
    serviceCIDRs: [10.96.0.0/16, "fd00:10:96::/112"]
    nodePrefixLengths: {ipv4: 24, ipv6: 64}   # pods' share of one node; longer = a smaller pool
    mtu: 1500                    # of the fabric; pods get less under a tunnel
    apiPort: 0                   # 0 lets the system choose
    worldNames:                  # what the resolver outside the cluster knows: addresses, or one other name
      example.com: [203.0.113.10, "2001:db8:ffff::10"]
      www.example.com: [example.com]
    labels: ["k8s:app", "!team"] # which labels make identities: [source:][!]expression, as cilium's --labels
    policyEnforcementMode: default # always: everybody is under default deny; never: nobody is judged
    policyAuditMode: false       # what policy refuses passes, and is told
    policyCIDRMatchMode: ""      # nodes: CIDR rules also mean nodes
    allowLocalhost: auto         # policy: a node's own processes need a rule to reach its pods
    identityGCSeconds: 900       # unused identities are deleted after that
    services:                    # see service.settings; what a Service's annotations say goes first
      algorithm: random          # or maglev: for calls from outside
      mode: snat                 # or dsr, hybrid (TCP answers come from the backend's node itself)
      noBackendResponse: reject  # or drop
      maglevTableSize: 16381     # 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071
      hashSeed: JLfvgnHc2kaSUFaI # 12 bytes in base64
      externalClusterIP: false   # cluster addresses may be called from outside
      topology: true             # hints of zones and nodes are followed
    mapEntries: {frontends: 131072}  # sizes of BPF maps that differ from the usual ones
    l2LeaseSeconds: [15, 5, 2]   # L2 announcements: lease duration, renew deadline, retry period
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from glasshive.errors import ManifestError, UsageError
from glasshive.identity.labels import LabelFilter
from glasshive.service.settings import ServiceSettings

DEFAULT_NAME = "hive"
NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
ROUTING = ("native", "tunnel")
DATAPLANES = ("ebpf", "iptables", "nftables")
POLICY_MODES = ("default", "always", "never")
FAMILIES = ("ipv4", "ipv6")
MAX_NODES = 1000
_MIN_MTU, _MAX_MTU = 1280, 9000
_FEWEST_SERVICES = 16
_MOST_ENTRIES = 1 << 24
_WORLD_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)

_POD_CIDRS = {"ipv4": "10.244.0.0/16", "ipv6": "fd00:10:244::/48"}
_SERVICE_CIDRS = {"ipv4": "10.96.0.0/16", "ipv6": "fd00:10:96::/112"}
_NODE_PREFIXES = {"ipv4": 24, "ipv6": 64}
_BITS = {"ipv4": 32, "ipv6": 128}

# Field in the file -> field of ClusterConfig.
_FIELDS = {
    "name": "name",
    "nodes": "nodes",
    "routing": "routing",
    "dataplane": "dataplane",
    "ipFamilies": "ip_families",
    "podCIDRs": "pod_cidrs",
    "serviceCIDRs": "service_cidrs",
    "nodePrefixLengths": "node_prefix_lengths",
    "mtu": "mtu",
    "apiPort": "api_port",
    "worldNames": "world_names",
    "labels": "labels",
    "policyEnforcementMode": "policy_enforcement",
    "policyAuditMode": "policy_audit",
    "policyCIDRMatchMode": "policy_cidr_match_mode",
    "allowLocalhost": "allow_localhost",
    "identityGCSeconds": "identity_gc_seconds",
    "services": "services",
    "mapEntries": "map_entries",
    "l2LeaseSeconds": "l2_lease_seconds",
}


@dataclass(frozen=True)
class ClusterConfig:
    """One embedded cluster.

    CIDR tuples hold one network per family, in the order of ``ip_families``; empty means the usual ones. ``mtu`` is in
    bytes. ``world_names`` empty means the usual names, see ``addresses.world_names``. Raises UsageError when a value is
    not allowed.
    """

    name: str = DEFAULT_NAME
    nodes: int = 3
    routing: str = "native"
    dataplane: str | Mapping[str, str] = "ebpf"
    ip_families: tuple[str, ...] = FAMILIES
    pod_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    node_prefix_lengths: Mapping[str, int] = field(default_factory=dict)
    mtu: int = 1500
    api_port: int = 0
    world_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    policy_enforcement: str = "default"
    policy_audit: bool = False
    policy_cidr_match_mode: str = ""
    allow_localhost: str = "auto"
    identity_gc_seconds: int = 900
    services: Mapping[str, Any] = field(default_factory=dict)
    map_entries: Mapping[str, int] = field(default_factory=dict)
    l2_lease_seconds: tuple[float, float, float] = (15.0, 5.0, 2.0)

    def __post_init__(self) -> None:
        check_name(self.name)
        _number("nodes", self.nodes, 1, MAX_NODES)
        _choice("routing", self.routing, ROUTING)
        self._check_dataplane()
        self._check_families()
        for name, usual in (("pod_cidrs", _POD_CIDRS), ("service_cidrs", _SERVICE_CIDRS)):
            object.__setattr__(self, name, _networks(name, getattr(self, name), self.ip_families, usual))
        self._check_service_cidrs()
        self._check_prefix_lengths()
        _number("mtu", self.mtu, _MIN_MTU, _MAX_MTU)
        _number("api_port", self.api_port, 0, 65535)
        object.__setattr__(self, "world_names", _world_names(self.world_names))
        object.__setattr__(self, "labels", tuple(self.labels.split() if isinstance(self.labels, str) else self.labels))
        LabelFilter(self.labels)
        _choice("policy_enforcement", self.policy_enforcement, POLICY_MODES)
        _choice("policy_audit", self.policy_audit, (True, False))
        _choice("policy_cidr_match_mode", self.policy_cidr_match_mode, ("", "nodes"))
        _choice("allow_localhost", self.allow_localhost, ("auto", "always", "policy"))
        _number("identity_gc_seconds", self.identity_gc_seconds, 1, 86_400)
        ServiceSettings.from_mapping(self.services)
        if not isinstance(self.map_entries, Mapping):
            raise UsageError(f"map_entries: {self.map_entries!r} is not allowed; allowed: a map, {{frontends: 131072}}")
        for name, entries in self.map_entries.items():
            _number(f"map_entries.{name}", entries, 1, _MOST_ENTRIES)
        object.__setattr__(self, "l2_lease_seconds", _lease_seconds(self.l2_lease_seconds))

    def _check_dataplane(self) -> None:
        by_node = self.dataplane if isinstance(self.dataplane, Mapping) else {"": self.dataplane}
        known = {"", *(f"node{number}" for number in range(1, self.nodes + 1))}
        for node, value in by_node.items():
            if node not in known:
                raise UsageError(f"dataplane: {node!r} is no node; allowed: node1 to node{self.nodes}")
            _choice(f"dataplane.{node}" if node else "dataplane", value, DATAPLANES)
        if self.routing == "tunnel" and set(by_node.values()) != {"ebpf"}:
            raise UsageError("dataplane: iptables and nftables need native routing; allowed: ebpf, or routing native")

    def dataplane_of(self, node: str) -> str:
        """What carries a node's packets when the cluster starts."""
        if isinstance(self.dataplane, Mapping):
            return str(self.dataplane.get(node, "ebpf"))
        return self.dataplane

    def _check_families(self) -> None:
        families = tuple(self.ip_families) if isinstance(self.ip_families, list | tuple) else (self.ip_families,)
        if not families or len(set(families)) != len(families) or not set(families) <= set(FAMILIES):
            raise UsageError(f"ip_families: {list(families)!r} is not allowed; allowed: ipv4, ipv6, or both")
        object.__setattr__(self, "ip_families", families)

    def _check_service_cidrs(self) -> None:
        for cidr in self.service_cidrs:  # the name service has the tenth address
            network = ipaddress.ip_network(cidr)
            if network.num_addresses < _FEWEST_SERVICES:
                longest = network.max_prefixlen - (_FEWEST_SERVICES - 1).bit_length()
                raise UsageError(f"service_cidrs: {cidr} is too small; allowed: /{longest} or wider")

    def _check_prefix_lengths(self) -> None:
        given = self.node_prefix_lengths
        if not isinstance(given, Mapping) or not set(given) <= set(FAMILIES):
            raise UsageError(f"node_prefix_lengths: {given!r} is not allowed; allowed: a map, {{ipv4: 24, ipv6: 64}}")
        chosen = {}
        for family, cidr in zip(self.ip_families, self.pod_cidrs, strict=True):
            network = ipaddress.ip_network(cidr)
            # A pool too small for the usual share is cut into as many parts as there are nodes.
            usual = max(_NODE_PREFIXES[family], network.prefixlen + (self.nodes - 1).bit_length())
            length = given.get(family, usual)
            _number(f"node_prefix_lengths.{family}", length, network.prefixlen, _BITS[family] - 2)
            if self.nodes > 1 << min(length - network.prefixlen, 20):
                parts = 1 << (length - network.prefixlen)
                raise UsageError(
                    f"node_prefix_lengths.{family}: /{length} cuts {cidr} into {parts} pools, too few for "
                    f"{self.nodes} nodes; allowed: a longer prefix, or a wider pod_cidrs"
                )
            chosen[family] = length
        object.__setattr__(self, "node_prefix_lengths", chosen)

    def to_dict(self) -> dict[str, Any]:
        """JSON-friendly form, as kept in ``cluster.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` gave; unknown keys are ignored."""
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known}
        return cls(**values)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, name: str = DEFAULT_NAME) -> Self:
        """Take a caller's mapping of field names. ``name`` is used if it has none. Raises UsageError."""
        if not isinstance(values, Mapping):
            raise UsageError(f"config: {values!r} is not allowed; allowed: a ClusterConfig, a mapping or a path")
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                raise UsageError(f"config: {key}: no such field; allowed: {', '.join(known)}")
        return cls.from_dict({"name": name, **values})

    @classmethod
    def from_file(cls, path: str | Path, **overrides: Any) -> Self:
        """Read a YAML file; ``overrides`` (None = not given) win over it. Raises ManifestError."""
        document = _load_yaml(Path(path))
        values: dict[str, Any] = {}
        for key, value in document.items():
            if key not in _FIELDS:
                raise ManifestError(f"{path}: {key}: no such field; allowed: {', '.join(_FIELDS)}")
            values[_FIELDS[key]] = tuple(value) if isinstance(value, list) else value
        values |= {key: value for key, value in overrides.items() if value is not None}
        try:
            return cls(**values)
        except UsageError as error:
            field_name, _, rest = error.message.partition(":")
            head, dot, tail = field_name.partition(".")
            shown = next((k for k, v in _FIELDS.items() if v == head), head) + dot + tail
            raise ManifestError(f"{path}: {shown}:{rest}") from None


def check_name(name: object) -> None:
    """Raise UsageError unless ``name`` can name a cluster."""
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise UsageError(f"name: {name!r} is not allowed; allowed: 1 to 32 of a-z, 0-9 and -, no - at either end")


def _number(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"{name}: {value!r} is not allowed; allowed: a whole number from {low} to {high}")


def _lease_seconds(given: object) -> tuple[float, float, float]:
    """Lease duration, renew deadline and retry period: each longer than the next, the first in whole seconds."""
    values = list(given) if isinstance(given, list | tuple) else []
    if len(values) == 3 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        lease, renew, retry = (float(one) for one in values)
        if lease > renew > retry > 0 and lease.is_integer():
            return lease, renew, retry
    raise UsageError(
        f"l2_lease_seconds: {given!r} is not allowed; allowed: lease duration (whole seconds), renew deadline and "
        "retry period, each longer than the next: [15, 5, 2]"
    )


def _choice(name: str, value: object, allowed: tuple[str | bool, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name}: {value!r} is not allowed; allowed: {', '.join(str(one) for one in allowed)}")


def _networks(name: str, given: object, families: tuple[str, ...], usual: Mapping[str, str]) -> tuple[str, ...]:
    """One network per family, in the families' order."""
    values = [given] if isinstance(given, str) else list(given) if isinstance(given, list | tuple) else None
    if values is None:
        raise UsageError(f"{name}: {given!r} is not allowed; allowed: a list such as {list(usual.values())}")
    found: dict[str, str] = {}
    for value in values:
        try:
            network = ipaddress.ip_network(value)
        except (ValueError, TypeError):
            raise UsageError(f"{name}: {value!r} is not allowed; allowed: networks such as {usual['ipv4']}") from None
        family = f"ipv{network.version}"
        if family not in families or family in found:
            raise UsageError(f"{name}: {value!r} is not allowed; allowed: one network each for {', '.join(families)}")
        found[family] = str(network)
    return tuple(found.get(family, usual[family]) for family in families)


def _world_names(given: object) -> dict[str, tuple[str, ...]]:
    """Names of the world with their addresses, or with the one name that each stands for."""
    if not isinstance(given, Mapping):
        raise UsageError(
            f"world_names: {given!r} is not allowed; allowed: a map such as {{example.com: [203.0.113.10]}}"
        )
    names = {}
    for name, values in given.items():
        texts = tuple(values) if isinstance(values, list | tuple) else (values,)
        kinds = {isinstance(text, str) and _is_address(text) for text in texts}
        if not _is_name(name) or not kinds or (False in kinds and (len(texts) > 1 or not _is_name(texts[0]))):
            raise UsageError(f"world_names.{name}: {values!r} is not allowed; allowed: addresses, or one other name")
        names[str(name)] = texts
    return names


def _is_name(text: object) -> bool:
    return isinstance(text, str) and len(text) < 254 and bool(_WORLD_NAME.fullmatch(text))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _load_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ManifestError(f"{path}:{where} is not YAML: {getattr(error, 'problem', error)}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ManifestError(f"{path}: must be a map of fields; allowed: {', '.join(_FIELDS)}")
    return document
