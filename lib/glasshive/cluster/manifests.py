"""Manifests as callers give them: a file, a folder, YAML text, one object or several -> a list of objects.

Every mistake is one line with file (or ``manifest``), document number and what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from glasshive.errors import ManifestError

Object = dict[str, Any]
Source = str | Path | Mapping[str, Any] | Iterable[Mapping[str, Any]]


def load(source: Source) -> list[Object]:
    """Objects of ``source`` in order. Text is YAML unless it is the path of something that exists."""
    if isinstance(source, Mapping):
        return _flatten(dict(source), "manifest")
    if isinstance(source, Path):
        return _load_path(source)
    if isinstance(source, str):
        if "\n" not in source and ":" not in source:
            return _load_path(Path(source))
        return _parse(source, "manifest")
    if not isinstance(source, Iterable):
        raise ManifestError(f"manifest: is {type(source).__name__}, not a path, YAML text, an object or several")
    return [obj for one in source for obj in _flatten(one, "manifest")]


def _load_path(path: Path) -> list[Object]:
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in {".yaml", ".yml", ".json"})
        if not files:
            raise ManifestError(f"{path}: holds no .yaml, .yml or .json file")
        return [obj for file in files for obj in _load_path(file)]
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise ManifestError(f"{path}: cannot be read: {reason}") from None
    return _parse(text, str(path))


def _parse(text: str, where: str) -> list[Object]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(yaml.load_all(text, Loader=loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ManifestError(f"{where}:{line} is not YAML: {getattr(error, 'problem', None) or error}") from None
    objects = [obj for n, doc in enumerate(documents, 1) if doc is not None for obj in _flatten(doc, f"{where} #{n}")]
    if not objects:
        raise ManifestError(f"{where}: holds no object")
    return objects


def _flatten(document: Any, where: str) -> list[Object]:
    """Check what every object must have, and take ``List`` objects apart."""
    if isinstance(document, Mapping):
        document = dict(document)
    else:
        raise ManifestError(f"{where}: is {type(document).__name__}, not an object with apiVersion, kind and metadata")
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str):
            raise ManifestError(f"{where}: {field}: missing, must be text such as {'v1' if field != 'kind' else 'Pod'}")
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        return [obj for item in document["items"] for obj in _flatten(item, where)]
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise ManifestError(f"{where}: metadata.name: missing, must be text")
    return [document]
