"""``glasshive kubectl``, ``exec``, ``logs``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from glasshive.cli.options import cluster_option, find_cluster, output_option

_PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


@click.command(context_settings=_PASS_ON)
@cluster_option
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
def kubectl(cluster: str | None, argv: tuple[str, ...]) -> None:
    """Become kubectl with this cluster's kubeconfig: glasshive kubectl get pods -o wide."""
    from glasshive.cluster.session import kubectl_path

    environment = os.environ | {"KUBECONFIG": find_cluster(cluster).kubeconfig}
    os.execve(kubectl_path(), ["kubectl", *argv], environment)  # noqa: S606 - becoming kubectl is the point


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@cluster_option
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("-c", "--container", default="", help="Container (default: the first).")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds the command may take.",
)
@output_option
@click.argument("pod")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(cluster: str | None, pod: str, argv: tuple[str, ...], output: str, **where: str | float) -> int:
    """Run a command in POD and pass its output and exit status on."""
    if argv[0] == "--":
        argv = argv[1:]
    done = find_cluster(cluster).exec(
        pod,
        argv,
        str(where["namespace"]),
        container=str(where["container"]),
        timeout=float(where["timeout"]),
    )
    if output == "json":
        from glasshive.cli.output import print_json

        print_json(done)
        return 0
    click.echo(done.stdout, nl=False)
    click.echo(done.stderr, nl=False, err=True)
    return done.returncode


@click.command()
@cluster_option
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("-c", "--container", default="")
@click.option("--tail", type=click.IntRange(min=0), default=0, help="Last lines only.")
@click.option("--process", is_flag=True, help="NAME is a process: a node, control-plane or supervisor.")
@output_option
@click.argument("name")
def logs(cluster: str | None, name: str, output: str, *, process: bool, **where: str | int) -> None:
    """Show what pod NAME has printed; with --process, the log of a process of the cluster."""
    found = find_cluster(cluster)
    tail = int(where["tail"])
    if process:
        lines = Path(found.backend.process(name).log).read_text(errors="replace").splitlines(keepends=True)
        text = "".join(lines[-tail:] if tail else lines)
    else:
        text = found.logs(name, str(where["namespace"]), container=str(where["container"]), tail=tail)
    if output == "json":
        from glasshive.cli.output import print_json

        print_json({"name": name, "lines": text.splitlines()})
        return
    click.echo(text, nl=False)
