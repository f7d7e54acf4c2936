"""``glasshive doctor``: what this machine can do, what that opens or closes, how to mend it."""

from __future__ import annotations

import click

from glasshive.cli.options import output_option
from glasshive.errors import NotFoundError


@click.command()
@click.option("--fresh", is_flag=True, help="Try everything again instead of using what was found before.")
@click.option("--all", "everything", is_flag=True, help="List everything that was tried.")
@output_option
def doctor(output: str, *, fresh: bool, everything: bool) -> int:
    """Show what this machine can do, which features and labs that opens or closes, and how to mend what is missing."""
    from glasshive.bpf import doctor as diagnosis
    from glasshive.bpf import probe
    from glasshive.cli.output import print_json
    from glasshive.lab.manifest import read_labs

    machine = probe.machine(fresh=fresh)
    try:
        labs = [entry.wanted() for entry in read_labs()]
    except NotFoundError:
        labs = []  # an installation without the labs
    diagnoses = diagnosis.diagnose(machine, [*diagnosis.FEATURES, *labs])
    if output == "json":
        print_json(diagnosis.as_data(machine, diagnoses))
    else:
        click.echo(diagnosis.render(machine, diagnoses, everything=everything), nl=False)
    return 0
