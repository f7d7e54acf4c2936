"""The command line: ``glasshive ...``. No logic: arguments in, a call, a table or JSON out.

Commands are imported when they are used (``COMMANDS`` says where they live), so that ``glasshive up`` does not wait for
what it does not need. Errors are one line on stderr; exit status 1, or 2 when the command itself was wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from glasshive.errors import GlasshiveError, UsageError

COMMANDS = {
    "up": "glasshive.cli.clusters:up",
    "down": "glasshive.cli.clusters:down",
    "ls": "glasshive.cli.clusters:ls",
    "status": "glasshive.cli.clusters:status",
    "stop": "glasshive.cli.components:stop",
    "start": "glasshive.cli.components:start",
    "kubectl": "glasshive.cli.pods:kubectl",
    "exec": "glasshive.cli.pods:exec_",
    "logs": "glasshive.cli.pods:logs",
    "node": "glasshive.cli.nodes:node",
    "maps": "glasshive.cli.nodes:maps",
    "drops": "glasshive.cli.nodes:drops",
    "endpoint": "glasshive.cli.endpoint:endpoint",
    "identity": "glasshive.cli.endpoint:identity",
    "policy": "glasshive.cli.policy:policy",
    "lrp": "glasshive.cli.lrp:lrp",
    "l2": "glasshive.cli.l2:l2",
    "service": "glasshive.cli.service:service",
    "bpf": "glasshive.cli.bpf:bpf",
    "config": "glasshive.cli.endpoint:config",
    "connectivity": "glasshive.cli.connectivity:connectivity",
    "doctor": "glasshive.cli.doctor:doctor",
    "lab": "glasshive.cli.lab:lab",
    "bench": "glasshive.cli.bench:bench",
}

SUMMARIES = {
    "up": "Bring a cluster up.",
    "down": "Remove a cluster and everything it owns.",
    "ls": "List clusters.",
    "status": "Show processes, nodes, pods and what was restarted.",
    "stop": "Stop a component on purpose, to see what goes on without it.",
    "start": "Start a component that was stopped.",
    "kubectl": "Run kubectl against a cluster.",
    "exec": "Run a command in a pod.",
    "logs": "Show what a pod, or a process of the cluster, has printed.",
    "node": "Work on a node.",
    "maps": "Show BPF maps of a node.",
    "drops": "Show dropped packets by node, reason and direction.",
    "endpoint": "Show endpoints, set their options.",
    "identity": "Show security identities.",
    "policy": "Check network policies, and see what they do.",
    "lrp": "Show local redirect policies.",
    "l2": "Show who answers for services' addresses on the network.",
    "service": "Show services: frontends, backends, and why a call goes where it goes.",
    "bpf": "Look into a node's tables: policy, ipcache, ct, identity, lb.",
    "config": "Change settings of the running cluster.",
    "connectivity": "Check that the network does what a CNI promises.",
    "doctor": "Show what this machine can do.",
    "lab": "Work with labs.",
    "bench": "Measure, beside peers, in one run.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``glasshive`` and ``python -m glasshive``. Returns the exit status."""
    import click

    from glasshive.cli.group import root

    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        result = root.main(args=arguments, prog_name="glasshive", standalone_mode=False)
    except click.exceptions.Abort:
        return _say("interrupted", 130)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except click.ClickException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "glasshive")
        return _say(f"{error.format_message()} ({command} --help)", 2)
    except GlasshiveError as error:
        if root.verbose:
            raise
        return _say(str(error), 2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # the reader, such as head, has had enough
        sys.stderr.close()
        return 1
    except OSError as error:  # not foreseen where it happened: still one line
        if root.verbose:
            raise
        return _say(f"{error} (glasshive --verbose shows where)", 1)
    return result if isinstance(result, int) else 0


def _say(text: str, status: int) -> int:
    print("glasshive: error: " + " ".join(text.split()), file=sys.stderr)
    return status
