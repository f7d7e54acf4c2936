"""The root command group: finds commands by the table in ``glasshive.cli`` and imports them on use."""

from __future__ import annotations

from importlib import import_module

import click

import glasshive
from glasshive.cli import COMMANDS, SUMMARIES


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported when called. ``verbose`` is set by --verbose."""

    verbose = False

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        """Import the command's module."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise click.ClickException(f"{cmd_name} is not part of this installation") from None
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cluster", "cluster", metavar="NAME", help="Cluster to work on (default: the only one that is up).")
@click.option("--verbose", is_flag=True, help="Show tracebacks.")
@click.version_option(glasshive.__version__, prog_name="glasshive")
@click.pass_context
def _root(ctx: click.Context, cluster: str | None, *, verbose: bool) -> None:
    """Kubernetes networking in glass: clusters of network namespaces with an eBPF dataplane to look into."""
    root.verbose = verbose
    ctx.obj = cluster


assert isinstance(_root, LazyGroup)
root: LazyGroup = _root
