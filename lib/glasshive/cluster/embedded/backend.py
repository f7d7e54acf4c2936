"""The embedded backend: network namespaces on this machine, watched over by one supervisor per cluster."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from glasshive.cluster.api_client import ApiClient
from glasshive.cluster.embedded import control_socket, launch, record, state, teardown
from glasshive.cluster.embedded.config import ClusterConfig, check_name
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.cluster.embedded.state import ProcessState, State
from glasshive.cluster.embedded.switch import SupervisedProcess
from glasshive.cluster.progress import Progress
from glasshive.errors import ApiError, ClusterError, NotFoundError, UsageError
from glasshive.inventory import process_alive
from glasshive.kube.endpoint import ApiEndpoint, from_socket
from glasshive.model.cluster import ClusterStatus, Completed, ProcessStatus
from glasshive.net import netns

WORLD = "world"
_STOP_SECONDS = 3.0
_JOIN = 'echo 0 > "$0" || exit; exec "$@"'
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


class EmbeddedBackend:
    """One embedded cluster by name. ``config`` is needed for ``up`` only."""

    def __init__(self, name: str, config: ClusterConfig | None = None) -> None:
        check_name(name)
        self.name = name
        self.config = config
        self.paths = ClusterPaths(name)

    def up(self, follow: Callable[[Progress], None], timeout: float) -> None:
        """See ``launch.up``."""
        launch.up(self.config or ClusterConfig(name=self.name), follow, timeout)

    def down(self) -> bool:
        """Ask the supervisor to end its children in order, then remove by inventory whatever is there."""
        launch.require_root()
        if not self.paths.run.exists():
            return False
        self._stop_supervisor()
        teardown.remove(self.paths)
        return True

    def status(self) -> ClusterStatus:
        """Processes as the supervisor sees them, or as their state file and /proc tell if it is dead."""
        stored = record.read(self.paths)
        config = stored.config
        answer = control_socket.ask(self.paths.supervisor_socket, "status")
        current = State.from_dict(answer["state"]) if answer else State.read(self.paths.state_file) or State()
        phase = current.phase
        problem = ""
        if not process_alive(current.supervisor or "0:"):
            phase = "unsupervised"
            problem = (
                f"its supervisor is dead: glasshive up {self.name} takes over, glasshive down {self.name} removes it"
            )
        processes = tuple(_process_status(process) for process in current.processes.values())
        port = current.facts.get("api_port")
        return ClusterStatus(
            name=self.name,
            phase=phase,
            routing=config.routing,
            ip_families=config.ip_families,
            api_server=f"https://127.0.0.1:{port}" if port else "",
            kubeconfig=str(self.paths.kubeconfig),
            context=stored.context,
            supervisor_pid=process_alive(current.supervisor or "0:") or 0,
            cpu_seconds=_cpu_seconds(self.paths.cgroup),
            memory_bytes=sum(_pss_bytes(process.pid) for process in processes if process.pid),
            processes=processes,
            events=tuple(f"{event['at']} {event['text']}" for event in current.events),
            problem=problem,
        )

    def api(self) -> ApiEndpoint:
        """Return the API server's unix socket."""
        record.read(self.paths)
        return from_socket(self.paths.api_socket, self.paths.token.read_text().strip())

    def kubeconfig(self) -> str:
        """Return the kubeconfig's path."""
        record.read(self.paths)
        return str(self.paths.kubeconfig)

    def node_request(self, node: str, method: str, path: str, body: Any = None, *, timeout: float = 30.0) -> Any:
        """Ask the node's process through its unix socket."""
        self._known_node(node)
        if node == WORLD:
            raise NotFoundError("the world is outside the cluster: no agent runs there", hint="name a node")
        try:
            client = ApiClient(from_socket(self.paths.node_socket(node)))
            return client.request(method, path, body=body, timeout=timeout)
        except ApiError as error:
            if error.code == 503:
                raise ClusterError(f"{node} does not answer", hint=f"see {self.paths.log(node)}") from None
            kind = NotFoundError if error.code == 404 else ClusterError
            raise kind(f"{node}: {error.message}") from None

    def node_exec(self, node: str, argv: Sequence[str], *, stdin: str, timeout: float) -> Completed:
        """Run a command in the node's namespace, in a thread of its own: the caller's threads stay where they are.

        It joins the node's cgroup before it makes a socket, so that it is treated as the node's processes are.
        """
        space, group = self._known_node(node), self._cgroup_procs(node)
        if shutil.which(argv[0]) is None:
            raise NotFoundError(f"{node}: there is no command {argv[0]}")
        command = ["/bin/sh", "-c", _JOIN, str(group), *argv] if group else list(argv)

        def run() -> Completed:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, errors="replace", check=False, timeout=timeout
            )
            return Completed(done.returncode, done.stdout, done.stderr)

        try:
            return netns.in_netns(space, run)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"{node}: {' '.join(argv)} did not end within {timeout:g} s") from None

    def node_survey(self, node: str, what: str) -> list[dict[str, Any]]:
        """Read the node's namespace; see ``net.survey``. Raises UsageError for anything else than its three tables."""
        from glasshive.net import survey

        reader = {"devices": survey.devices, "routes": survey.routes, "neighbours": survey.neighbours}.get(what)
        if reader is None:
            raise UsageError(f"a node has no table {what!r}", hint="devices, routes or neighbours")
        return reader(self._known_node(node))

    def node_command(self, node: str, argv: Sequence[str]) -> None:
        """Enter the node's namespace and cgroup and become the command."""
        netns.enter(self._known_node(node))
        if group := self._cgroup_procs(node):
            group.write_text("0", encoding="ascii")
        try:
            os.execvp(argv[0], list(argv))  # noqa: S606 - becoming the command is the point
        except FileNotFoundError:
            raise NotFoundError(f"{node}: there is no command {argv[0]}") from None

    def process(self, name: str) -> SupervisedProcess:
        """Return a process; names as in ``status``, and ``supervisor``, which has a log but no switch."""
        record.read(self.paths)
        if not self.paths.log(name).exists():
            known = ", ".join(sorted(path.stem for path in self.paths.logs.glob("*.log")))
            raise NotFoundError(f"cluster {self.name} has no process {name}", hint=f"there are: {known}")
        return SupervisedProcess(self.paths, name)

    def _cgroup_procs(self, node: str) -> Path | None:
        """Where to join a node's cgroup; the world, and hosts without cgroups, have none."""
        procs = self.paths.node_cgroup(node) / "agent" / "cgroup.procs"
        return procs if procs.exists() else None

    def _known_node(self, node: str) -> str:
        """Return the namespace name of a node, or of ``world``, the place outside the cluster."""
        places = {**record.read(self.paths).netns, WORLD: self.paths.world_netns}
        if node not in places:
            raise NotFoundError(f"cluster {self.name} has no node {node}", hint=f"there are: {', '.join(places)}")
        return places[node]

    def _stop_supervisor(self) -> None:
        if control_socket.ask(self.paths.supervisor_socket, "stop") is None:
            return
        current = State.read(self.paths.state_file)
        deadline = time.monotonic() + _STOP_SECONDS
        while current and process_alive(current.supervisor or "0:") and time.monotonic() < deadline:
            time.sleep(0.01)  # it is not our child; what is left after the deadline is killed


def _process_status(process: ProcessState) -> ProcessStatus:
    pid = process_alive(process.ident) if process.ident else None
    return ProcessStatus(
        name=process.name,
        role=process.role,
        pid=pid or 0,
        alive=pid is not None,
        ready=process.ready and pid is not None,
        rss_bytes=_rss_bytes(pid) if pid else 0,
        started_at=process.started_at,
        restarts=process.restarts,
        last_exit=process.last_exit,
        last_exit_at=process.last_exit_at,
        stopped=process.stopped,
    )


def _rss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    return 0


def _pss_bytes(pid: int) -> int:
    """Memory of a process, its shared pages counted in equal parts: forks of one parent share most of theirs."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return 0


def _cpu_seconds(cgroup: Path) -> float:
    """CPU time of everything that ever ran in the cluster's cgroup."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((cgroup / "cpu.stat").read_text().split("usage_usec", 1)[1].split()[0]) / 1e6
    return 0.0


def phase_of(paths: ClusterPaths) -> str:
    """Return the phase of a cluster by its state file alone, for ``ls``."""
    current = State.read(paths.state_file)
    if current is None:
        return "broken"
    if not process_alive(current.supervisor or "0:"):
        return "unsupervised"
    return current.phase or state.STARTING
