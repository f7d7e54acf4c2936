"""Volumes of a pod as directories below its ``volumes``: emptyDir, configMap, secret, downwardAPI, projected.

They are written once, when the pod starts: a ConfigMap that changes later reaches the next pod, not this one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glasshive.cluster.embedded.kubelet.containers import Objects, Place, found_data, pod_field
from glasshive.errors import ManifestError
from glasshive.kube.objects import Object

_DEFAULT_MODE = 0o644
_KINDS = ("emptyDir", "configMap", "secret", "downwardAPI", "projected")
File = tuple[str, bytes, int]
"""Path relative to the volume, content, mode."""


def materialise(pod: Object, directory: Path, objects: Objects, place: Place) -> None:
    """Write all volumes of the pod below ``directory``. Raises ManifestError naming the volume."""
    for volume in pod["spec"].get("volumes") or []:
        target = directory / volume["name"]
        if target.parent != directory:
            raise ManifestError(f"volume name {volume['name']!r} is not a plain name")
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.chmod(0o777 if "emptyDir" in volume else 0o755)
        try:
            for path, content, mode in _files(pod, volume, objects, place):
                _write(target, path, content, mode)
        except ManifestError as error:
            raise ManifestError(f"volume {volume['name']}: {error}") from None
    for container in (*(pod["spec"].get("initContainers") or []), *(pod["spec"].get("containers") or [])):
        for mount in container.get("volumeMounts") or []:
            _check_mount(directory, container["name"], mount)


def remove(directory: Path) -> None:
    """Remove all volumes of a pod."""
    shutil.rmtree(directory, ignore_errors=True)


def _check_mount(directory: Path, container: str, mount: Mapping[str, Any]) -> None:
    base = directory / mount["name"]
    if not base.is_dir():
        raise ManifestError(f"container {container} mounts volume {mount['name']!r}, which the pod does not have")
    sub = mount.get("subPath")
    if sub:
        if ".." in Path(sub).parts or Path(sub).is_absolute():
            raise ManifestError(f"container {container}: subPath {sub!r} leaves its volume")
        if not (base / sub).exists():
            (base / sub).mkdir(parents=True)


def _files(pod: Object, volume: Mapping[str, Any], objects: Objects, place: Place) -> Iterator[File]:
    kind = next((key for key in _KINDS if key in volume), None)
    if kind is None:
        unknown = ", ".join(key for key in volume if key != "name") or "none"
        raise ManifestError(f"kind {unknown} is not offered", hint=f"use {', '.join(_KINDS)}")
    if kind == "emptyDir":
        return
    mode = int(volume[kind].get("defaultMode") or _DEFAULT_MODE)
    if kind != "projected":
        yield from _source(pod, kind, volume[kind], objects, place, mode=mode)
        return
    for source in volume[kind].get("sources") or []:
        for name, body in source.items():
            if name in _KINDS:  # serviceAccountToken is left out: pods here have no account to speak for
                yield from _source(pod, name, body, objects, place, mode=mode)


def _source(
    pod: Object, kind: str, body: Mapping[str, Any], objects: Objects, place: Place, *, mode: int
) -> Iterator[File]:
    if kind == "downwardAPI":
        for item in body.get("items") or []:
            if "fieldRef" in item:
                text = pod_field(pod, item["fieldRef"]["fieldPath"], place)
                yield item["path"], text.encode(), int(item.get("mode") or mode)
        return
    reference = (
        ("ConfigMap", body["name"]) if kind == "configMap" else ("Secret", body.get("secretName") or body["name"])
    )
    data = found_data(objects, reference, optional=bool(body.get("optional")))
    if data is None:
        return
    if not body.get("items"):
        yield from ((key, content, mode) for key, content in data.items())
        return
    for item in body["items"]:
        if item["key"] in data:
            yield item["path"], data[item["key"]], int(item.get("mode") or mode)
        elif not body.get("optional"):
            raise ManifestError(f"{reference[0]} {reference[1]!r} has no key {item['key']!r}")


def _write(target: Path, path: str, content: bytes, mode: int) -> None:
    if ".." in Path(path).parts or Path(path).is_absolute():
        raise ManifestError(f"path {path!r} leaves its volume")
    file = target / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(mode)
