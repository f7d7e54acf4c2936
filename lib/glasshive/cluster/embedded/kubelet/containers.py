"""From a Pod object to what its first process is told. Pure: everything looked up is handed in.

Raises ManifestError for what cannot run (a reference that is missing, a volume of an unknown kind), NotFoundError for
an image that nobody knows.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from glasshive.cluster.embedded.kubelet.config import KubeletConfig
from glasshive.cluster.embedded.pods import sandbox
from glasshive.cluster.embedded.pods.spec import ContainerSpec, Mount, PodSpec
from glasshive.cluster.embedded.workloads import catalogue
from glasshive.errors import ManifestError, NotFoundError
from glasshive.kube.objects import Object

Reference = tuple[str, str]
"""("ConfigMap" or "Secret", name) in the pod's namespace."""
Objects = Mapping[Reference, Object | None]
_EXPANSION = re.compile(r"\$\$|\$\(([A-Za-z_.][-A-Za-z0-9_.]*)\)")
_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_DEFAULT_GRACE_SECONDS = 30


@dataclass(frozen=True)
class Place:
    """Where a pod has come to live."""

    addresses: tuple[str, ...]
    host_addresses: tuple[str, ...]


def references(pod: Object) -> set[Reference]:
    """ConfigMaps and Secrets that the pod's environment and volumes mention."""
    found: set[Reference] = set()
    for container in (*_list(pod["spec"], "initContainers"), *_list(pod["spec"], "containers")):
        for source in _list(container, "envFrom"):
            found |= {(kind, source[key]["name"]) for key, kind in _FROM.items() if key in source}
        for entry in _list(container, "env"):
            value = entry.get("valueFrom") or {}
            found |= {(kind, value[key]["name"]) for key, kind in _KEYS.items() if key in value}
    for volume in _list(pod["spec"], "volumes"):
        for source in (volume, *_list(volume.get("projected") or {}, "sources")):
            if "configMap" in source:
                found.add(("ConfigMap", source["configMap"]["name"]))
            if "secret" in source:
                found.add(("Secret", source["secret"].get("secretName") or source["secret"].get("name") or ""))
    return found


_FROM = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
_KEYS = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}


def _list(holder: Mapping[str, Any], key: str) -> list[Any]:
    return holder.get(key) or []


def data_of(obj: Object) -> dict[str, bytes]:
    """The content of a ConfigMap or Secret by key."""
    encoded = obj.get("data") or {}
    if obj.get("kind") == "Secret":
        return {key: base64.b64decode(value or "") for key, value in encoded.items()}
    binary = {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}
    return {key: str(value).encode() for key, value in encoded.items()} | binary


def found_data(objects: Objects, reference: Reference, *, optional: bool) -> dict[str, bytes] | None:
    """The content behind a reference; None for an optional one that is missing."""
    obj = objects.get(reference)
    if obj is None:
        if optional:
            return None
        raise ManifestError(f"{reference[0]} {reference[1]!r} is not there")
    return data_of({"kind": reference[0], **obj})


def pod_field(pod: Object, path: str, place: Place) -> str:
    """A field of the pod for the downward API; ManifestError for a field that is not offered."""
    meta, spec = pod["metadata"], pod["spec"]
    keyed = _KEYED_FIELD.fullmatch(path)
    if keyed:
        return str((meta.get(keyed[1]) or {}).get(keyed[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        entries = meta.get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    simple = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta.get("namespace", ""),
        "metadata.uid": meta.get("uid", ""),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": (place.addresses or ("",))[0],
        "status.podIPs": ",".join(place.addresses),
        "status.hostIP": (place.host_addresses or ("",))[0],
        "status.hostIPs": ",".join(place.host_addresses),
    }
    if path not in simple:
        raise ManifestError(f"field {path!r} is not offered to pods", hint=f"use one of {', '.join(simple)}")
    return str(simple[path])


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by known variables; ``$$`` is a dollar sign, unknown names stay."""

    def one(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else env.get(match[1], match[0])

    return _EXPANSION.sub(one, text)


def environment(pod: Object, container: Object, objects: Objects, place: Place) -> dict[str, str]:
    """The container's variables in the order of the manifest, later ones seeing earlier ones."""
    env = {
        "HOSTNAME": hostname(pod),
        "GLASSHIVE_NODE": pod["spec"].get("nodeName", ""),
        "GLASSHIVE_NAMESPACE": pod["metadata"].get("namespace", ""),
    }
    for source in _list(container, "envFrom"):
        key, kind = next((key, kind) for key, kind in _FROM.items() if key in source)
        data = found_data(objects, (kind, source[key]["name"]), optional=bool(source[key].get("optional")))
        for name, raw in (data or {}).items():
            env[source.get("prefix", "") + name] = raw.decode(errors="replace")
    for entry in _list(container, "env"):
        value = _value(pod, entry, objects, place, env)
        if value is not None:
            env[entry["name"]] = value
    return env


def _value(pod: Object, entry: Object, objects: Objects, place: Place, env: Mapping[str, str]) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(str(entry.get("value") or ""), env)
    if "fieldRef" in source:
        return pod_field(pod, source["fieldRef"]["fieldPath"], place)
    for key, kind in _KEYS.items():
        if key in source:
            wanted, optional = source[key], bool(source[key].get("optional"))
            data = found_data(objects, (kind, wanted["name"]), optional=optional)
            if data is not None and wanted["key"] in data:
                return data[wanted["key"]].decode(errors="replace")
            if optional:
                return None
            raise ManifestError(f"{kind} {wanted['name']!r} has no key {wanted['key']!r}")
    if "resourceFieldRef" in source:
        return "0"
    raise ManifestError(f"variable {entry['name']}: unknown source {', '.join(source)}")


def hostname(pod: Object) -> str:
    """The pod's host name: its own wish, else its name; 63 characters at most."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def check_images(pod: Object) -> list[tuple[str, str, str]]:
    """(container, image, message) of every container whose image is unknown."""
    problems = []
    for container in (*_list(pod["spec"], "initContainers"), *_list(pod["spec"], "containers")):
        try:
            catalogue.find(container.get("image", ""))
        except NotFoundError as error:
            problems.append((container["name"], container.get("image", ""), str(error)))
    return problems


def pod_spec(pod: Object, config: KubeletConfig, objects: Objects, place: Place) -> PodSpec:
    """All that the pod's first process needs."""
    meta, spec = pod["metadata"], pod["spec"]
    return PodSpec(
        uid=meta["uid"],
        name=meta["name"],
        namespace=meta["namespace"],
        node=config.node,
        hostname=config.node if spec.get("hostNetwork") else hostname(pod),
        hosts=hosts_file(pod, place),
        resolv=resolv_file(pod, config),
        restart=spec.get("restartPolicy") or "Always",
        grace_seconds=float(spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS)),
        init_containers=[_container(pod, each, objects, place) for each in _list(spec, "initContainers")],
        containers=[_container(pod, each, objects, place) for each in _list(spec, "containers")],
    )


def _container(pod: Object, container: Object, objects: Objects, place: Place) -> ContainerSpec:
    env = environment(pod, container, objects, place)
    words = [[expand(str(word), env) for word in _list(container, key)] for key in ("command", "args")]
    command = catalogue.resolve(container.get("image", ""), words[0], words[1], env, stdin=bool(container.get("stdin")))
    pod_security = pod["spec"].get("securityContext") or {}
    security = pod_security | (container.get("securityContext") or {})
    return ContainerSpec(
        name=container["name"],
        image=container.get("image", ""),
        argv=list(command.argv),
        workload=command.workload,
        args=list(command.args),
        env={**command.env, **env},
        cwd=container.get("workingDir") or "/",
        user=int(security.get("runAsUser") or 0),
        group=int(security.get("runAsGroup") or 0),
        capabilities=sandbox.capability_mask(_capabilities(security)),
        mounts=[
            Mount(
                f"{m['name']}/{m['subPath']}" if m.get("subPath") else m["name"],
                m["mountPath"],
                bool(m.get("readOnly")),
            )
            for m in _list(container, "volumeMounts")
        ],
        restart=container.get("restartPolicy") or "",
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        terminal=bool(container.get("tty")),
    )


def _capabilities(security: Mapping[str, Any]) -> set[str]:
    wish = security.get("capabilities") or {}
    names = set(sandbox.PRIVILEGED_CAPABILITIES if security.get("privileged") else sandbox.DEFAULT_CAPABILITIES)
    if "ALL" in _list(wish, "drop"):
        names.clear()
    names -= set(_list(wish, "drop"))
    added = {name.removeprefix("CAP_") for name in _list(wish, "add")}
    return names | (set(sandbox.PRIVILEGED_CAPABILITIES) if "ALL" in added else added)


def hosts_file(pod: Object, place: Place) -> str:
    """/etc/hosts: loopback, the pod itself, and what the manifest adds."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    names = hostname(pod)
    subdomain = pod["spec"].get("subdomain")
    if subdomain:
        names = f"{names}.{subdomain}.{pod['metadata']['namespace']}.svc.cluster.local {names}"
    lines += [f"{address}\t{names}" for address in place.addresses]
    lines += [f"{alias['ip']}\t{' '.join(_list(alias, 'hostnames'))}" for alias in _list(pod["spec"], "hostAliases")]
    return "\n".join(lines) + "\n"


def resolv_file(pod: Object, config: KubeletConfig) -> str:
    """/etc/resolv.conf by the pod's dnsPolicy and dnsConfig."""
    domain, namespace = config.cluster_domain, pod["metadata"]["namespace"]
    wish = pod["spec"].get("dnsConfig") or {}
    servers: Iterable[str] = config.dns_addresses
    searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain]
    options = ["ndots:5"]
    if pod["spec"].get("dnsPolicy") == "None":
        servers, searches, options = (), [], []
    options += [f"{o['name']}:{o['value']}" if o.get("value") else o["name"] for o in _list(wish, "options")]
    lines = [f"nameserver {address}" for address in (*servers, *_list(wish, "nameservers"))]
    searches += _list(wish, "searches")
    if searches:
        lines.append(f"search {' '.join(searches)}")
    if options:
        lines.append(f"options {' '.join(dict.fromkeys(options))}")
    return "\n".join(lines) + "\n"
