"""Which records an object stands for. Pure: Kubernetes objects in, ``zone.Records`` out.

================================  =======================================================================
object                            names (below the cluster's domain)
================================  =======================================================================
Service with cluster addresses    svc.ns.svc: A, AAAA; _port._proto.svc.ns.svc: SRV; PTR of its addresses
headless Service                  the same, of its ready endpoints; host.svc.ns.svc and PTR of each endpoint
ExternalName Service              svc.ns.svc: CNAME
Pod                               10-244-0-7.ns.pod: A or AAAA
================================  =======================================================================

A headless Service without ready endpoints has no name at all, as the specification asks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glasshive.dns.names import dashed, plain, reverse_of, reverse_zones
from glasshive.dns.zone import Records, Zone

Object = dict[str, Any]
Draft = dict[str, dict[str, list[str]]]

SPEC_VERSION = "1.1.0"
SRV_PRIORITY, SRV_WEIGHT = 0, 100


def cluster_zone(domain: str, dns_addresses: Iterable[str], cidrs: Iterable[str]) -> Zone:
    """The zone of an empty cluster: ``domain``, and the reverse zones of the networks it has to itself."""
    domain = plain(domain)
    draft: Draft = {}
    _add(draft, f"dns-version.{domain}", "TXT", f'"{SPEC_VERSION}"')
    for address in dns_addresses:
        _add(draft, f"ns.dns.{domain}", _type_of(address), address)
    _add(draft, domain, "NS", f"ns.dns.{domain}.")
    for kind in ("svc", "pod"):  # they exist, also while nothing is in them
        draft.setdefault(f"{kind}.{domain}", {})
    return Zone([domain, *(zone for cidr in cidrs for zone in reverse_zones(cidr))], _finished(draft))


def world_zone(names: Mapping[str, Sequence[str]]) -> Zone:
    """The root zone of a world that knows these names only: each has addresses, or one other name."""
    draft: Draft = {}
    for name, values in names.items():
        for value in values:
            type_ = _type_of(value)
            _add(draft, plain(name), type_, f"{plain(value)}." if type_ == "CNAME" else value)
            if type_ != "CNAME":
                _add(draft, reverse_of(value), "PTR", f"{plain(name)}.")
    return Zone([""], _finished(draft))


def service_records(service: Object, slices: Iterable[Object], domain: str) -> Records:
    """All records of one Service; ``slices`` are its EndpointSlices."""
    spec, meta = service.get("spec") or {}, service["metadata"]
    owner = f"{meta['name']}.{meta['namespace']}.svc.{domain}"
    draft: Draft = {}
    if spec.get("type") == "ExternalName":
        if spec.get("externalName"):
            _add(draft, owner, "CNAME", f"{plain(spec['externalName'])}.")
    elif spec.get("clusterIP") == "None":
        anyhow = bool(spec.get("publishNotReadyAddresses"))
        for part in slices:
            _headless(draft, owner, part, anyhow=anyhow)
    else:
        _clustered(draft, owner, spec)
    return _finished(draft)


def pod_records(pod: Object, domain: str) -> Records:
    """The records of a Pod: one name per address."""
    status, draft = pod.get("status") or {}, Draft()
    for entry in status.get("podIPs") or ():
        name = f"{dashed(entry['ip'])}.{pod['metadata']['namespace']}.pod.{domain}"
        _add(draft, name, _type_of(entry["ip"]), entry["ip"])
    return _finished(draft)


def _clustered(draft: Draft, owner: str, spec: Object) -> None:
    addresses = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip]
    for address in addresses:
        _add(draft, owner, _type_of(address), address)
        _add(draft, reverse_of(address), "PTR", f"{owner}.")
    for port in spec.get("ports") or () if addresses else ():
        _add_port(draft, owner, port, owner)


def _headless(draft: Draft, owner: str, part: Object, *, anyhow: bool) -> None:
    """Endpoints of one slice. Those without a host name of their own are named by their address."""
    if part.get("addressType") == "FQDN":
        return
    for endpoint in part.get("endpoints") or ():
        # "Not said" counts as ready, as the EndpointSlice's definition has it.
        if not anyhow and (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        for address in endpoint.get("addresses") or ():
            host = f"{endpoint.get('hostname') or dashed(address)}.{owner}"
            _add(draft, owner, _type_of(address), address)
            _add(draft, host, _type_of(address), address)
            _add(draft, reverse_of(address), "PTR", f"{host}.")
            for port in part.get("ports") or ():
                _add_port(draft, owner, port, host)


def _add_port(draft: Draft, owner: str, port: Object, target: str) -> None:
    if port.get("name") and port.get("port"):
        name = f"_{port['name']}._{(port.get('protocol') or 'TCP').lower()}.{owner}"
        _add(draft, name, "SRV", f"{SRV_PRIORITY} {SRV_WEIGHT} {port['port']} {target}.")


def _type_of(value: str) -> str:
    try:
        return "A" if ipaddress.ip_address(value).version == 4 else "AAAA"
    except ValueError:
        return "CNAME"


def _add(draft: Draft, name: str, type_: str, data: str) -> None:
    known = draft.setdefault(name, {}).setdefault(type_, [])
    if data not in known:
        known.append(data)


def _finished(draft: Draft) -> Records:
    return {name: {type_: tuple(data) for type_, data in types.items()} for name, types in draft.items()}
