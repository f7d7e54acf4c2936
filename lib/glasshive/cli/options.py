"""Options that many commands share, and how they find their cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from glasshive.cluster.session import Cluster

F = TypeVar("F", bound=Callable[..., Any])


def cluster_option(function: F) -> F:
    """``--cluster NAME``, also accepted before the command."""
    return click.option(
        "--cluster", "cluster", metavar="NAME", help="Cluster to work on (default: the only one that is up)."
    )(function)


def output_option(function: F) -> F:
    """``-o json``."""
    return click.option(
        "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Form of the output."
    )(function)


def chosen(cluster: str | None) -> str | None:
    """Return the name given with the command, or before it."""
    given = click.get_current_context().find_root().obj
    return cluster if cluster is not None else given if isinstance(given, str) else None


def find_cluster(cluster: str | None) -> Cluster:
    """Return the cluster that is meant. Raises NotFoundError, UsageError."""
    from glasshive.cluster.session import connect

    return connect(chosen(cluster))
