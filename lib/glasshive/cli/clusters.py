"""``glasshive up``, ``down``, ``ls``, ``status``."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glasshive.cli.options import chosen, cluster_option, find_cluster, output_option

if TYPE_CHECKING:
    from glasshive.cluster.embedded.config import ClusterConfig
    from glasshive.cluster.embedded.paths import ClusterPaths
    from glasshive.cluster.progress import Progress
    from glasshive.cluster.session import Cluster
    from glasshive.model.cluster import ClusterStatus

CHATTY_NODES = 5  # up to so many, each process is announced when it is ready


@click.command()
@click.argument("name", required=False)
@cluster_option
@click.option("--nodes", type=int, help="Number of nodes.  [default: 3]")
@click.option("--routing", help="native or tunnel.  [default: native]")
@click.option("--ip-families", metavar="LIST", help="ipv4, ipv6 or both, with a comma.  [default: ipv4,ipv6]")
@click.option("--config", "file", type=click.Path(), help="YAML file with these and more; options win over it.")
@click.option("--apply", "manifests", type=click.Path(), multiple=True, help="Apply manifests and wait for their pods.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=120.0, show_default=True, help="Seconds to wait."
)
@output_option
def up(
    name: str | None, cluster: str | None, manifests: tuple[str, ...], timeout: float, output: str, **given: Any
) -> None:
    """Bring cluster NAME (default: hive) up: nodes ready, manifests applied, their pods ready.

    If anything fails, or you press Ctrl-C, nothing is left behind.
    """
    config = _config(chosen(cluster) if name is None else name, **given)
    objects = _load(manifests)
    from glasshive.cluster.embedded import launch

    show = _shower(quiet=output == "json")

    def follow(progress: Progress) -> None:
        if not progress.name or config.nodes <= CHATTY_NODES:
            show(f"{progress.seconds:5.2f} s  {progress.text}")
        with _uninterrupted():
            from glasshive.cluster import session  # noqa: F401 - while the supervisor works: its start needs no more

    launch.up(config, follow, timeout)
    try:
        from glasshive.cluster.session import Cluster

        one = Cluster(config=config)
        one.apply(objects)  # not earlier: all pods would go to the node that is ready first
        one.wait_applied(objects, timeout=timeout)
    except BaseException:
        from glasshive.cluster.embedded.backend import EmbeddedBackend

        EmbeddedBackend(config.name).down()
        raise
    _report_up(one, output, show)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back while modules are imported: there it may end in a place where nobody hears of it."""
    if threading.current_thread() is not threading.main_thread():  # Ctrl-C goes to the main thread, which is elsewhere
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


def _load(manifests: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read all manifests before anything is started. Empty without any, and then YAML is not even imported."""
    if not manifests:
        return []
    from glasshive.cluster import manifests as files

    return [obj for path in manifests for obj in files.load(Path(path))]


def _config(
    name: str | None, *, nodes: int | None, routing: str | None, ip_families: str | None, file: str | None
) -> ClusterConfig:
    from glasshive.cluster.embedded.config import ClusterConfig

    families = None if ip_families is None else tuple(part.strip() for part in ip_families.split(","))
    values = {"name": name, "nodes": nodes, "routing": routing, "ip_families": families}
    if file is not None:
        return ClusterConfig.from_file(file, **values)
    return ClusterConfig(**{key: value for key, value in values.items() if value is not None})  # type: ignore[arg-type]


def _report_up(one: Cluster, output: str, show: Callable[[str], None]) -> None:
    if output == "json":
        from glasshive.cli.output import print_json

        print_json(one.status())
        return
    show(f"cluster {one.name} is up. kubectl: export KUBECONFIG={one.kubeconfig}")


def _shower(*, quiet: bool) -> Callable[[str], None]:
    """Return how progress is shown: not at all, in colour on a terminal, plain otherwise."""
    if quiet:
        return lambda _: None
    if not sys.stdout.isatty():
        return click.echo
    console: list[Any] = []

    def coloured(text: str) -> None:
        if not console:  # imported when the first line comes: the supervisor is busy meanwhile
            from rich.console import Console

            console.append(Console(highlight=False))
        mark = "[bold green]✓[/]" if text[:1] == " " or text[:1].isdigit() else "[bold yellow]●[/]"
        console[0].print(f"{mark} {text}")

    return coloured


@click.command()
@click.argument("names", nargs=-1)
@cluster_option
@click.option("--all", "everything", is_flag=True, help="Remove every cluster.")
@output_option
def down(names: tuple[str, ...], cluster: str | None, output: str, *, everything: bool) -> None:
    """Remove clusters NAMES (default: the only one that is up) and everything they own. Also after any crash."""
    from glasshive.cluster.embedded.backend import EmbeddedBackend
    from glasshive.cluster.embedded.launch import require_root
    from glasshive.cluster.embedded.paths import cluster_names
    from glasshive.errors import NotFoundError, UsageError

    require_root()
    there = cluster_names()
    given = chosen(cluster)
    wanted = list(names) or ([] if given is None else [given])
    if everything:
        wanted = there
    elif not wanted:
        if len(there) > 1:
            raise UsageError(f"several clusters are up: {', '.join(there)}", hint="name one, or use --all")
        if not there:
            raise NotFoundError("no cluster is up")
        wanted = there
    backends = [EmbeddedBackend(name) for name in wanted]
    if missing := [name for name in wanted if name not in there]:  # before any of the others is gone
        raise NotFoundError(f"there is no cluster {', '.join(missing)}", hint="glasshive ls shows those there are")
    for backend in backends:
        backend.down()
        if output == "text":
            click.echo(f"cluster {backend.name} is gone")
    if not wanted and output == "text":
        click.echo("no cluster is up")
    if output == "json":
        from glasshive.cli.output import print_json

        print_json({"removed": wanted})


@click.command()
@output_option
def ls(output: str) -> None:
    """List clusters."""
    from glasshive.cli.output import print_json, print_table
    from glasshive.cluster.embedded.launch import require_root
    from glasshive.cluster.embedded.paths import ClusterPaths, cluster_names

    try:
        rows = [_listed(ClusterPaths(name)) for name in cluster_names()]
    except PermissionError:
        require_root()
        raise
    if output == "json":
        print_json(rows)
    elif rows:
        header = ["NAME", "PHASE", "NODES", "ROUTING", "IP FAMILIES", "KUBECONFIG"]
        print_table([[_text(value) for value in row.values()] for row in rows], header)
    else:
        click.echo("no cluster is up")


def _listed(paths: ClusterPaths) -> dict[str, Any]:
    """One cluster's row; of one whose file is gone or damaged, the name and that it is broken."""
    from glasshive.cluster.embedded import record
    from glasshive.cluster.embedded.backend import phase_of
    from glasshive.errors import ClusterError, NotFoundError

    try:
        config = record.read(paths).config
    except (ClusterError, NotFoundError):
        config = None
    return {
        "name": paths.cluster,
        "phase": phase_of(paths) if config else "broken",
        "nodes": config.nodes if config else 0,
        "routing": config.routing if config else "",
        "ip_families": config.ip_families if config else (),
        "kubeconfig": str(paths.kubeconfig),
    }


@click.command()
@click.argument("name", required=False)
@cluster_option
@output_option
@click.option("--verbose", is_flag=True, help="Also what each node does for services.")
def status(name: str | None, cluster: str | None, output: str, *, verbose: bool) -> None:
    """Show a cluster's processes, nodes and pods, what was restarted and why."""
    chosen = find_cluster(cluster if name is None else name)
    found = chosen.status()
    if output == "json":
        from glasshive.cli.output import print_json

        print_json(found)
        return
    _print_status(found)
    if verbose:
        from glasshive.cluster.services import replacement_lines

        for node in found.nodes:
            click.echo()
            for line in replacement_lines(chosen.backend, node.name):
                click.echo(line)


def _print_status(found: ClusterStatus) -> None:
    from glasshive.cli.output import print_table, size

    click.echo(f"cluster      {found.name}: {found.phase}")
    if found.problem:
        click.echo(f"problem      {found.problem}")
    click.echo(f"networking   {found.routing} routing, {' and '.join(found.ip_families)}")
    click.echo(f"API server   {found.api_server}")
    click.echo(f"kubeconfig   {found.kubeconfig} (context {found.context})")
    click.echo(
        f"used         {found.cpu_seconds:.1f} s of CPU, {size(found.memory_bytes)} of memory in its processes\n"
    )
    rows = [
        [
            p.name,
            p.role,
            p.pid or "-",
            p.condition,
            size(p.rss_bytes),
            f"restarted {p.restarts}x, last exit {p.last_exit} at {p.last_exit_at}" if p.last_exit else "",
        ]
        for p in found.processes
    ]
    print_table(rows, ["PROCESS", "ROLE", "PID", "STATE", "RESIDENT", "RESTARTS"])
    if found.nodes:
        click.echo()
        lines = [
            [n.name, "Ready" if n.ready else "NotReady", n.pods, _text(n.addresses), _text(n.pod_cidrs), n.reason]
            for n in found.nodes
        ]
        print_table(lines, ["NODE", "STATE", "PODS", "ADDRESSES", "POD CIDRS", ""])
    if found.pods:
        click.echo()
        shown = [
            [p.namespace, p.name, "yes" if p.ready else "no", p.state, p.restarts, p.node, _text(p.addresses)]
            for p in found.pods
        ]
        print_table(shown, ["NAMESPACE", "POD", "READY", "STATE", "RESTARTS", "NODE", "ADDRESSES"])
    for line in found.events[-5:]:
        click.echo(f"event: {line}")


def _text(value: object) -> str:
    return ",".join(str(one) for one in value) if isinstance(value, list | tuple) else str(value)
