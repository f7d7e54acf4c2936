"""``cluster.json``: what a cluster was asked to be and what was chosen for it.

``launch`` writes it, everybody else reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glasshive.cluster.embedded import addresses
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import ClusterError, GlasshiveError, NotFoundError, PermissionNeededError


@dataclass(frozen=True)
class Record:
    """One cluster as written down. ``netns`` maps a node's name to its namespace's name."""

    config: ClusterConfig
    context: str
    netns: Mapping[str, str]


def write(config: ClusterConfig, paths: ClusterPaths) -> None:
    """Write the file in one step."""
    fresh = paths.cluster_file.with_suffix(".new")
    fresh.write_text(json.dumps(describe(config, paths), indent=2))
    fresh.replace(paths.cluster_file)


def read(paths: ClusterPaths) -> Record:
    """Read the file.

    Raises NotFoundError if there is no such cluster, PermissionNeededError for anybody but root, ClusterError if the
    file is damaged.
    """
    try:
        text = paths.cluster_file.read_text()
    except FileNotFoundError:
        hint = "glasshive ls shows those there are"
        if paths.run.is_dir():  # it died between the directory and the file
            hint = f"only parts of it are left: glasshive down {paths.cluster} removes them"
        raise NotFoundError(f"there is no cluster {paths.cluster}", hint=hint) from None
    except PermissionError:
        raise PermissionNeededError(f"cluster {paths.cluster} belongs to root", hint="run it with sudo") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(paths, error) from None
    try:
        held = json.loads(text)
        netns = {str(name): str(node["netns"]) for name, node in held["nodes"].items()}
        return Record(ClusterConfig.from_dict(held["config"]), str(held["context"]), netns)
    except (ValueError, KeyError, TypeError, AttributeError, GlasshiveError) as error:
        raise _damaged(paths, error) from None


def describe(config: ClusterConfig, paths: ClusterPaths) -> dict[str, Any]:
    """Return what the file holds."""
    return {
        "backend": "embedded",
        "config": config.to_dict(),
        "kubeconfig": str(paths.kubeconfig),
        "context": f"glasshive-{config.name}",
        "nodes": {
            addresses.node_name(number): {
                "addresses": [addresses.node_address(number, family) for family in config.ip_families],
                "netns": paths.node_netns(addresses.node_name(number)),
            }
            for number in range(1, config.nodes + 1)
        },
    }


def _damaged(paths: ClusterPaths, error: Exception) -> ClusterError:
    what = f"{paths.cluster_file} is damaged: {type(error).__name__}: {error}"
    return ClusterError(what, hint=f"glasshive down {paths.cluster} removes the cluster")
