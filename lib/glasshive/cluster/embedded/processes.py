"""What the supervisor runs: the programs of a cluster, in the order that starts them soonest.

Imports are the slow part of ``up``, so they go on side by side: the control plane is forked at once and imports its own
code, with a child of its own that makes the certificates, while the supervisor imports the agent, once for all nodes.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING

from glasshive.cluster.embedded import addresses, lean
from glasshive.cluster.embedded.children import Program, Report
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import ClusterError

if TYPE_CHECKING:
    from glasshive.cluster.embedded.supervisor import Supervisor

CONTROL_PLANE = "control-plane"
CONTROL_PLANE_ROLE, NODE_ROLE, ZYGOTE_ROLE, WORLD_ROLE = "control plane", "agent", "zygote", "world"
RESOLVER_ROLE = "resolver"
WORLD_HTTP_PORTS = (80, 8080)


def launch_control_plane(supervisor: Supervisor) -> None:
    """Start what takes longest and needs nothing: it may be called before the fabric stands."""
    supervisor.launch(_control_plane(supervisor))


def launch_nodes(supervisor: Supervisor) -> None:
    """Start all other programs of the cluster through ``supervisor.launch``."""
    nodes = [addresses.node_name(number) for number in range(1, supervisor.config.nodes + 1)]
    # Zygotes come before anything large is imported: every pod is a copy of one.
    from glasshive.cluster.embedded.pods import zygote

    for node in nodes:
        supervisor.launch(_zygote(supervisor.paths, node, zygote))
    supervisor.launch(_world(supervisor.paths))
    with lean.imports():
        from glasshive.agent import config, objects
        from glasshive.cluster.embedded import node_process

        objects.warm_up(config.objects_directory())
    supervisor.poll()
    for number, node in enumerate(nodes, 1):
        supervisor.launch(_node(supervisor, number, node, node_process))
    # Resolvers come last: they need the API, which is coming up meanwhile, and nothing needs them before pods run.
    from glasshive.cluster.embedded import resolver_process

    resolver_process.warm_up()
    supervisor.poll()
    for node in nodes:
        supervisor.launch(_resolver(supervisor, node, resolver_process))
    supervisor.launch(_world_resolver(supervisor, resolver_process))
    supervisor.progress("control plane, zygotes, agents and resolvers started")


def _node(supervisor: Supervisor, number: int, node: str, process: ModuleType) -> Program:
    config, paths = supervisor.config, supervisor.paths
    return Program(
        name=node,
        role=NODE_ROLE,
        cgroup=paths.node_cgroup(node) / "agent",
        log=paths.log(node),
        main=lambda report: process.main(config, paths, number, report),
        netns=paths.node_netns(node),
    )


def _zygote(paths: ClusterPaths, node: str, module: ModuleType) -> Program:
    config = module.ZygoteConfig(node, paths.node(node), paths.node_cgroup(node) / "pods")
    return Program(
        name=f"{node}-zygote",
        role=ZYGOTE_ROLE,
        cgroup=paths.node_cgroup(node) / "agent",
        log=paths.log(f"{node}-zygote"),
        main=lambda report: module.serve(config, lambda: report({})),
        netns=paths.node_netns(node),
    )


def _resolver(supervisor: Supervisor, node: str, process: ModuleType) -> Program:
    config, paths = supervisor.config, supervisor.paths
    return Program(
        name=f"{node}-dns",
        role=RESOLVER_ROLE,
        cgroup=paths.node_cgroup(node) / "agent",
        log=paths.log(f"{node}-dns"),
        main=lambda report: process.main(config, paths, report),
        netns=paths.node_netns(node),
    )


def _world_resolver(supervisor: Supervisor, process: ModuleType) -> Program:
    config, paths = supervisor.config, supervisor.paths
    return Program(
        name="world-dns",
        role=RESOLVER_ROLE,
        cgroup=paths.control_cgroup,
        log=paths.log("world-dns"),
        main=lambda report: process.world_main(config, report),
        netns=paths.world_netns,
    )


def _world(paths: ClusterPaths) -> Program:
    """Return an echo server outside the cluster, so that masquerading can be seen: it says who asked."""
    from glasshive.cluster.embedded.workloads import echo

    def run(report: Report) -> None:
        os.environ["HOSTNAME"] = "world"
        report({})
        echo.main([*(f"--http={port}" for port in WORLD_HTTP_PORTS), "--tcp=9000", "--udp=9000"])

    return Program(
        name="world",
        role=WORLD_ROLE,
        cgroup=paths.control_cgroup,
        log=paths.log("world"),
        main=run,
        netns=paths.world_netns,
    )


def _control_plane(supervisor: Supervisor) -> Program:
    config, paths = supervisor.config, supervisor.paths

    def run(report: Report) -> None:
        certificates = _fork_certificates(config, paths)
        with lean.imports():
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
