"""Service (v1), EndpointSlice (discovery.k8s.io/v1) and pods' host ports -> values.

Source: the Kubernetes API reference; annotations as in Cilium's documentation. Reading never fails: what makes no
sense is left out and named in ``findings``, so that one bad field costs that field only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from glasshive.errors import UsageError
from glasshive.model.address import V4_MAPPED, ZERO, Address, Prefix, is_ipv4, parse
from glasshive.model.policy import SCTP, TCP, UDP
from glasshive.model.service import (
    AFFINITY_SECONDS,
    EndpointSlice,
    HostPort,
    Service,
    ServiceCondition,
    ServiceEndpoint,
    ServiceFinding,
    ServicePort,
    ServiceRef,
)

Object = Mapping[str, Any]
PROTOCOLS = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}
SERVICE_NAME = "kubernetes.io/service-name"
ANNOTATIONS = "service.cilium.io/"
WEIGHTS = "service.glasshive.io/weights"
"""Annotation of a Service: ``POD=WEIGHT`` or ``ADDRESS=WEIGHT``, comma separated. Others weigh 1; 0 is nothing new."""
WEIGHT_MAX = 256
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
EXPOSED = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalIPs")
NOT_YET = ("global", "shared", "affinity", "global-sync-endpoint-slices", "node", "node-selector", "proxy-delegation")
"""Annotations below ``service.cilium.io/`` that mean something which is not done here."""
AFFINITY_MAX = 86_400
_CHOICES = {
    "lb-algorithm": ("maglev", "random"),
    "forwarding-mode": ("dsr", "snat"),
    "src-ranges-policy": ("allow", "deny"),
}
ANY_IPV4 = Address(V4_MAPPED + bytes(4))
ANY_IPV6 = ZERO


def read_service(obj: Object) -> Service:
    """A Service object's value."""
    return _Reading(obj).service()


class _Reading:
    """One Service under way."""

    def __init__(self, obj: Object) -> None:
        self._meta = obj["metadata"]
        self._spec: Object = obj.get("spec") or {}
        self._status: Object = obj.get("status") or {}
        self._annotations: Mapping[str, str] = self._meta.get("annotations") or {}
        self._findings: list[ServiceFinding] = []

    def service(self) -> Service:
        spec, kind = self._spec, self._spec.get("type") or "ClusterIP"
        cluster = self._cluster_addresses() if kind != "ExternalName" else ()
        families = spec.get("ipFamilies") or ()
        chosen = self._choices() if self._annotations else {}
        ranges, ranged = self._source_ranges(kind)
        return Service(
            ref=ServiceRef(self._meta.get("namespace") or "default", self._meta["name"]),
            uid=self._meta.get("uid") or "",
            created=self._meta.get("creationTimestamp") or "",
            type=kind,
            cluster_addresses=cluster,
            external_addresses=self._addresses(spec.get("externalIPs") or (), "spec.externalIPs"),
            balancer_addresses=self._balancer() if kind == "LoadBalancer" else (),
            ports=self._ports(kind),
            ipv4="IPv4" in families if families else any(is_ipv4(one) for one in cluster) or not cluster,
            ipv6="IPv6" in families if families else any(not is_ipv4(one) for one in cluster),
            affinity_s=self._affinity(),
            external_local=kind in ("NodePort", "LoadBalancer") and spec.get("externalTrafficPolicy") == "Local",
            internal_local=spec.get("internalTrafficPolicy") == "Local",
            source_ranges=ranges,
            source_ranged=ranged,
            source_deny=chosen.get("src-ranges-policy") == "deny",
            health_port=int(spec.get("healthCheckNodePort") or 0),
            algorithm=chosen.get("lb-algorithm", ""),
            forwarding=chosen.get("forwarding-mode", ""),
            exposed=self._exposed() if self._annotations else frozenset(),
            weights=self._weights() if self._annotations else (),
            selects=bool(spec.get("selector")),
            external_name=spec.get("externalName") or "" if kind == "ExternalName" else "",
            findings=tuple(self._findings),
            conditions=self._conditions() if self._status else (),
        )

    def _conditions(self) -> tuple[ServiceCondition, ...]:
        listed = self._status.get("conditions") or ()
        return tuple(
            ServiceCondition(one["type"], one.get("reason") or "", one.get("message") or "")
            for one in listed
            if one.get("status") == "False"
        )

    def _find(self, field: str, text: str) -> None:
        self._findings.append(ServiceFinding(field, text))

    def _addresses(self, texts: Any, field: str) -> tuple[Address, ...]:
        found = []
        for text in texts:
            try:
                found.append(parse(text))
            except UsageError as error:
                self._find(field, f"{error}; it is left out")
        return tuple(found)

    def _cluster_addresses(self) -> tuple[Address, ...]:
        texts = self._spec.get("clusterIPs") or [self._spec.get("clusterIP")]
        return self._addresses([text for text in texts if text and text != "None"], "spec.clusterIPs")

    def _balancer(self) -> tuple[Address, ...]:
        """Addresses that others gave it; those whose provider sends packets on to nodes' addresses are not ours."""
        given = (self._status.get("loadBalancer") or {}).get("ingress") or ()
        texts = [one["ip"] for one in given if one.get("ip") and one.get("ipMode", "VIP") == "VIP"]
        return self._addresses(texts, "status.loadBalancer.ingress")

    def _ports(self, kind: str) -> tuple[ServicePort, ...]:
        found = []
        node_ports = kind in ("NodePort", "LoadBalancer")
        for one in self._spec.get("ports") or ():
            protocol = PROTOCOLS.get(one.get("protocol") or "TCP")
            if protocol is None:
                allowed = ", ".join(PROTOCOLS)
                self._find("spec.ports", f"protocol {one['protocol']} of port {one['port']} is none of {allowed}")
                continue
            number = int(one.get("nodePort") or 0) if node_ports else 0
            found.append(ServicePort(one.get("name") or "", protocol, int(one["port"]), number))
        return tuple(found)

    def _affinity(self) -> int:
        if self._spec.get("sessionAffinity") != "ClientIP":
            return 0
        told = ((self._spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
        seconds = AFFINITY_SECONDS if told is None else int(told)
        if not 0 < seconds <= AFFINITY_MAX:
            self._find(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                f"{seconds} is not between 1 and {AFFINITY_MAX}; {AFFINITY_SECONDS} is used",
            )
            return AFFINITY_SECONDS
        return seconds

    def _source_ranges(self, kind: str) -> tuple[tuple[Prefix, ...], bool]:
        """Ranges, and whether there are any: a list of nothing but nonsense must not open the door."""
        texts, field = list(self._spec.get("loadBalancerSourceRanges") or ()), "spec.loadBalancerSourceRanges"
        if not texts and (told := self._annotations.get(SOURCE_RANGES, "").strip()):
            texts, field = told.split(","), f"metadata.annotations[{SOURCE_RANGES}]"
        if kind != "LoadBalancer" or not texts:
            return (), False
        found = []
        for text in texts:
            try:
                found.append(Prefix.parse(text.strip()))
            except UsageError:
                self._find(field, f"{text.strip()!r} is not a CIDR such as 203.0.113.0/24; it is left out")
        return tuple(dict.fromkeys(found)), True

    def _choices(self) -> dict[str, str]:
        found = {}
        for name, allowed in _CHOICES.items():
            told = self._annotations.get(ANNOTATIONS + name)
            if told is None:
                continue
            if told.lower() in allowed:
                found[name] = told.lower()
            else:
                self._find(f"metadata.annotations[{ANNOTATIONS}{name}]", f"{told!r} is none of {', '.join(allowed)}")
        if found.get("forwarding-mode") == "dsr":
            text = "dsr is not done yet: answers of other nodes' backends come by way of this node (snat)"
            self._find(f"metadata.annotations[{ANNOTATIONS}forwarding-mode]", text)
        for name in NOT_YET:
            if ANNOTATIONS + name in self._annotations:
                self._find(f"metadata.annotations[{ANNOTATIONS}{name}]", "is not supported yet and changes nothing")
        return found

    def _exposed(self) -> frozenset[str]:
        told = self._annotations.get(ANNOTATIONS + "type", "").strip()
        known = {name.lower(): name for name in EXPOSED}
        found = set()
        for word in (one.strip() for one in told.split(",") if one.strip()):
            if word.lower() in known:
                found.add(known[word.lower()])
            else:
                self._find(f"metadata.annotations[{ANNOTATIONS}type]", f"{word!r} is none of {', '.join(EXPOSED)}")
        return frozenset(found)

    def _weights(self) -> tuple[tuple[str, int], ...]:
        found = {}
        for word in (one.strip() for one in self._annotations.get(WEIGHTS, "").split(",") if one.strip()):
            name, _, number = word.partition("=")
            if number.strip().isdigit() and int(number) <= WEIGHT_MAX:
                found[name.strip()] = int(number)
            else:
                text = f"{word!r} is not POD=WEIGHT or ADDRESS=WEIGHT with a weight from 0 to {WEIGHT_MAX}"
                self._find(f"metadata.annotations[{WEIGHTS}]", text)
        return tuple(found.items())


def service_of_slice(obj: Object) -> ServiceRef | None:
    """The Service that an EndpointSlice belongs to, if it says."""
    meta = obj["metadata"]
    name = (meta.get("labels") or {}).get(SERVICE_NAME)
    return ServiceRef(meta.get("namespace") or "default", name) if name else None


def read_slice(obj: Object) -> EndpointSlice | None:
    """An EndpointSlice's value; None for one that belongs to no Service or holds names instead of addresses."""
    ref, family = service_of_slice(obj), obj.get("addressType")
    if ref is None or family not in ("IPv4", "IPv6"):
        return None
    ports = tuple(
        (one.get("name") or "", PROTOCOLS[one.get("protocol") or "TCP"], int(one["port"]))
        for one in obj.get("ports") or ()
        if one.get("port") and (one.get("protocol") or "TCP") in PROTOCOLS
    )
    found = [made for one in obj.get("endpoints") or () for made in _endpoints(one, ipv4=family == "IPv4")]
    return EndpointSlice(ref, obj["metadata"]["name"], family == "IPv4", ports, tuple(found))


def _endpoints(one: Object, *, ipv4: bool) -> Iterator[ServiceEndpoint]:
    """An endpoint is one address: clients of a slice use the first (the API reference: they may be the same host)."""
    conditions = one.get("conditions") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    hints = one.get("hints") or {}
    target = one.get("targetRef") or {}
    for text in (one.get("addresses") or ())[:1]:
        try:
            address = parse(text)
        except UsageError:
            continue  # the API server refuses such; there is nothing to send packets to
        if is_ipv4(address) == ipv4:
            yield ServiceEndpoint(
                address,
                ready,
                ready if serving is None else bool(serving),
                bool(conditions.get("terminating")),
                one.get("nodeName") or "",
                one.get("zone") or "",
                tuple(hint["name"] for hint in hints.get("forZones") or ()) if hints else (),
                tuple(hint["name"] for hint in hints.get("forNodes") or ()) if hints else (),
                target.get("name") or "" if target.get("kind") == "Pod" else "",
            )


def read_host_ports(pod: Object) -> tuple[HostPort, ...]:
    """Host ports of a pod that has its network; none of a finished pod or one that uses its node's."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if spec.get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return ()
    wanted = [
        one
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        for one in container.get("ports") or ()
        if one.get("hostPort") and (one.get("protocol") or "TCP") in PROTOCOLS
    ]
    if not wanted:
        return ()
    texts = [one.get("ip") for one in status.get("podIPs") or ()] or [status.get("podIP")]
    try:
        addresses = [parse(text) for text in texts if text]
        found = [made for one in wanted for made in _host_ports(one, addresses)]
    except UsageError:
        return ()  # the API server refuses such
    return tuple(dict.fromkeys(found))


def _host_ports(one: Object, addresses: list[Address]) -> Iterator[HostPort]:
    host = parse(one["hostIP"]) if one.get("hostIP") else None
    protocol = PROTOCOLS[one.get("protocol") or "TCP"]
    for address in addresses:
        anywhere = ANY_IPV4 if is_ipv4(address) else ANY_IPV6
        if host is None or is_ipv4(host) == is_ipv4(address):
            yield HostPort(host or anywhere, int(one["hostPort"]), protocol, address, int(one["containerPort"]))
