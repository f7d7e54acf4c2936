"""Which cluster a lab is worked on: the common one, or one of its own if the manifest names a topology for it.

Everybody says the common cluster's name, the *base* (``--cluster``, ``GLASSHIVE_CLUSTER``). A lab with a topology has
``<base>-<topology>`` to itself, made from ``labs/topologies/<topology>.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from glasshive.cluster import Cluster, connect
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import cluster_names
from glasshive.errors import CapabilityError, NotFoundError
from glasshive.lab.manifest import LabEntry

Say = Callable[[str], None]
ClusterOf = Callable[[LabEntry], Cluster]


def name_of(entry: LabEntry, base: str) -> str:
    """The name of the cluster that a lab is worked on."""
    return f"{base}-{entry.topology.replace('_', '-')}" if entry.topology else base


def config_of(entry: LabEntry, base: str, nodes: int = 0) -> ClusterConfig:
    """What that cluster is made of; ``nodes`` at least, if it is the common one. Raises UsageError for a long name."""
    name = name_of(entry, base)
    if entry.topology:
        return ClusterConfig.from_file(entry.cluster_file, name=name)
    return ClusterConfig(name=name, nodes=max(nodes, entry.nodes))


def find(entry: LabEntry, base: str) -> Cluster:
    """The lab's cluster, which must be up: NotFoundError. CapabilityError if it has too few nodes."""
    found = connect(name_of(entry, base))
    if found.config.nodes < entry.nodes:
        what = f"cluster {found.name} has {found.config.nodes} nodes, lab {entry.id} wants {entry.nodes}"
        raise CapabilityError(what, hint=f"glasshive down {found.name}, then try again")
    return found


def prepare(entry: LabEntry, base: str, backend: str = "", nodes: int = 0) -> Cluster:
    """Find the lab's cluster, or bring it up."""
    try:
        return find(entry, base)
    except NotFoundError:
        return Cluster(config=config_of(entry, base, nodes), backend=backend or "embedded").up()


@contextmanager
def lent(base: str, entries: Sequence[LabEntry], say: Say) -> Iterator[ClusterOf]:
    """A function that gives each lab's cluster, with nodes enough for all of them.

    What it has to bring up is taken down at the end.
    """
    nodes = max((entry.nodes for entry in entries if not entry.topology), default=1)
    with ExitStack() as stack:

        def cluster_of(entry: LabEntry) -> Cluster:
            name = name_of(entry, base)
            if name not in cluster_names():
                say(f"bringing up cluster {name}")
                stack.callback(prepare(entry, base, nodes=nodes).down)
            return find(entry, base)

        yield cluster_of


@contextmanager
def swept(base: str, entries: Sequence[LabEntry]) -> Iterator[None]:
    """Clusters that only one lab has, and that notebooks bring up meanwhile, are gone afterwards, even if one fails."""
    names = {name_of(entry, base) for entry in entries if entry.topology} - set(cluster_names())
    try:
        yield
    finally:
        for name in sorted(names):
            with suppress(NotFoundError):
                connect(name).down()
