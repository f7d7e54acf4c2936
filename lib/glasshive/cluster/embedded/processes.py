"""What the supervisor runs: the programs of a cluster, in the order that starts them soonest.

Imports are the slow part of ``up``, so work overlaps with them on the second core: the certificates are made by a child
while this process imports the control plane, and the control plane starts while the agent is imported.
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
    config, paths = supervisor.config, supervisor.paths
    certificates = _fork_certificates(config, paths)
    from glasshive.cluster.embedded import control_plane

    _wait_certificates(certificates)

    def run_control_plane(report: Report) -> None:
        # A successor listens where its predecessor did, so that kubeconfig files and connections stay right.
        control_plane.main(config, paths, int(supervisor.state.facts.get("api_port", config.api_port)), report)

    supervisor.launch(
        Program(
            name=CONTROL_PLANE,
            role=CONTROL_PLANE_ROLE,
            cgroup=paths.control_cgroup,
            log=paths.log(CONTROL_PLANE),
            main=run_control_plane,
        )
    )
    from glasshive.cluster.embedded import node_process

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
        write_private(paths.server_key, key)
        status = 0
    finally:
        os._exit(status)


def _wait_certificates(pid: int) -> None:
    if pid and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise ClusterError("the cluster's certificates could not be made", hint="see log/supervisor.log")
