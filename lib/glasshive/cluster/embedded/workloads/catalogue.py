"""From an image's name to what runs: the catalogue of workloads and the aliases of well-known images.

Registries and tags do not matter: ``docker.io/library/nginx:1.27``, ``nginx@sha256:...`` and ``nginx`` are one. Image
names are data (``images.json``); only two images have a command line of their own that is worth translating.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from glasshive.errors import NotFoundError

_PACKAGE = "glasshive.cluster.embedded.workloads"
_DEFAULT_REGISTRIES = ("docker.io/library/", "docker.io/", "index.docker.io/library/", "index.docker.io/", "library/")
_BUILT_IN_COMMANDS = {"pause": f"{_PACKAGE}.pause:main"}


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: ``argv`` to execute, or a ``workload`` to call with ``args``; ``env`` are the image's."""

    argv: tuple[str, ...] = ()
    workload: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def _images() -> dict[str, dict[str, Any]]:
    data = json.loads((Path(__file__).parent / "images.json").read_text(encoding="utf-8"))
    return {**data["workloads"], **data["aliases"]}


def known_images() -> list[str]:
    """Names of all images that can run, sorted."""
    return sorted(_images())


def normalise(image: str) -> str:
    """The name without default registry, tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = head + slash + last.partition(":")[0]
    for registry in _DEFAULT_REGISTRIES:
        if name.startswith(registry):
            return name.removeprefix(registry)
    return name


def find(image: str) -> dict[str, Any]:
    """The catalogue's entry. Raises NotFoundError in one line that names what there is."""
    entry = _images().get(normalise(image))
    if entry is None:
        own = ", ".join(name for name in known_images() if name.startswith("glasshive/"))
        raise NotFoundError(
            f"image {image!r} is not in the catalogue of the embedded cluster",
            hint=f"use {own}, busybox, nginx or another of the {len(_images())} known images",
        )
    return entry


def resolve(
    image: str, command: Sequence[str], args: Sequence[str], env: Mapping[str, str], *, stdin: bool = False
) -> Command:
    """What a container of that image runs, given ``command`` and ``args`` (combined as Kubernetes does).

    An image that has only a shell waits to have commands run in it, unless it has an input to read (``stdin``).
    """
    entry = find(image)
    own_env: dict[str, str] = entry.get("env", {})
    if command:
        workload = _BUILT_IN_COMMANDS.get(command[0].rpartition("/")[2])
        if workload:
            return Command(workload=workload, args=(*command[1:], *args), env=own_env)
        return Command(argv=(*command, *args), env=own_env)
    if "shell" in entry:
        if args or stdin:
            return Command(argv=tuple(args or entry["shell"]), env=own_env)
        return Command(workload=f"{_PACKAGE}.client:main", env=own_env)
    if "argv" in entry:
        if args or not entry.get("idle"):
            return Command(argv=(*entry["argv"], *args), env=own_env)
        return Command(workload=f"{_PACKAGE}.client:main", env=own_env)
    workload = f"{_PACKAGE}.{entry['workload']}:main"
    if "translate" in entry:
        workload, words = _TRANSLATIONS[entry["translate"]](args)
    else:
        words = list(args) if args else entry.get("args", [])
    known = {**own_env, **env}
    return Command(workload=workload, args=tuple(_expand(word, known) for word in words), env=own_env)


def _expand(word: str, env: Mapping[str, str]) -> str:
    return env.get(word[1:], word) if word.startswith("$") else word


def _options(args: Sequence[str]) -> dict[str, str]:
    """``--name=value`` and ``-name value`` alike."""
    found: dict[str, str] = {}
    words = iter(args)
    for word in words:
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            found[name] = value if equals else next(words, "")
    return found


def _http_echo(args: Sequence[str]) -> tuple[str, list[str]]:
    options = _options(args)
    port = options.get("listen", ":5678").rpartition(":")[2]
    return f"{_PACKAGE}.echo:main", ["--http", port, "--text", options.get("text", "hello-world")]


def _agnhost(args: Sequence[str]) -> tuple[str, list[str]]:
    """The subcommands that demo manifests use: netexec, serve-hostname, pause."""
    subcommand, options = (args[0] if args else "pause"), _options(args[1:])
    if subcommand == "netexec":
        udp = options.get("udp-port", "8081")
        words = ["--http", options.get("http-port", "8080"), *(["--udp", udp] if udp != "-1" else [])]
        return f"{_PACKAGE}.echo:main", words
    if subcommand == "serve-hostname":
        return f"{_PACKAGE}.echo:main", ["--http", options.get("port", "9376")]
    return f"{_PACKAGE}.pause:main", []


_TRANSLATIONS: dict[str, Callable[[Sequence[str]], tuple[str, list[str]]]] = {
    "agnhost": _agnhost,
    "http-echo": _http_echo,
}
