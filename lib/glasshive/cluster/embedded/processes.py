"""What the supervisor runs: the programs of a cluster, in the order that starts them soonest.

Imports are the slow part of ``up``, so they go on side by side: the control plane is forked at once and imports its own
code, with a child of its own that makes the certificates, while the supervisor imports the agent, once for all nodes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from glasshive.cluster.embedded import addresses
from glasshive.cluster.embedded.children import Program, Report
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import ClusterError

if TYPE_CHECKING:
    from glasshive.cluster.embedded.supervisor import Supervisor

CONTROL_PLANE = "control-plane"
CONTROL_PLANE_ROLE, NODE_ROLE, ZYGOTE_ROLE = "control plane", "agent", "zygote"


def launch_all(supervisor: Supervisor) -> None:
    """Start every program of the cluster through ``supervisor.launch``."""
    supervisor.launch(_control_plane(supervisor))
    from glasshive.cluster.embedded import node_process

    config, paths = supervisor.config, supervisor.paths
    for number in range(1, config.nodes + 1):
        node = addresses.node_name(number)

        def run_node(report: Report, number: int = number) -> None:
            node_process.main(config, paths, number, report)

        supervisor.launch(
            Program(
                name=node,
                role=NODE_ROLE,
                cgroup=paths.node_cgroup(node) / "agent",
                log=paths.log(node),
                main=run_node,
                netns=paths.node_netns(node),
            )
        )
    supervisor.progress("control plane and agents started")


def _control_plane(supervisor: Supervisor) -> Program:
    config, paths = supervisor.config, supervisor.paths

    def run(report: Report) -> None:
        certificates = _fork_certificates(config, paths)
        from glasshive.cluster.embedded import control_plane

        _wait_certificates(certificates)
        # A successor listens where its predecessor did, so that kubeconfig files stay right.
        port = int(supervisor.state.facts.get("api_port", config.api_port))
        control_plane.main(config, paths, port, report)

    return Program(
        name=CONTROL_PLANE,
        role=CONTROL_PLANE_ROLE,
        cgroup=paths.control_cgroup,
        log=paths.log(CONTROL_PLANE),
        main=run,
    )


def _fork_certificates(config: ClusterConfig, paths: ClusterPaths) -> int:
    """Make certificates and token in a child, once per cluster. Returns its pid, 0 if they are there already."""
    if paths.server_key.exists():
        return 0
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        from glasshive.cluster.embedded import pki
        from glasshive.cluster.embedded.private_file import write_private

        ca, cert, key = pki.make(config.name, addresses.kubernetes_service_addresses(config))
        write_private(paths.ca_cert, ca)
        write_private(paths.server_cert, cert)
        write_private(paths.token, pki.new_token().encode())
        write_private(paths.server_key, key)  # last: its presence says that all are there
        status = 0
    finally:
        os._exit(status)


def _wait_certificates(pid: int) -> None:
    if pid and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise ClusterError("the cluster's certificates could not be made", hint="see log/control-plane.log")
