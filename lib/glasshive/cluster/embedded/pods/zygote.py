"""The zygote: a small process of each node that forks the node's pods.

Started by the supervisor before anything large is imported, so that a pod is a fork of a few megabytes, most of it
shared. It holds nothing secret, keeps no account of pods, and outlives agents; pods outlive it (they are then the
supervisor's).

Protocol on ``zygote.sock`` (SEQPACKET): the kubelet sends one packet ``{"uid": ...}`` with the network namespace's
descriptor attached. One frame of the answer, ``p`` with ``{"pid": ...}``, comes from the zygote; all others on this
connection come from the pod itself, whose first process keeps it as a watcher's channel: frames as in ``channel``, or
``x`` with an error.
"""

from __future__ import annotations

import asyncio  # noqa: F401 - workloads find it imported
import contextlib
import gc
import http  # noqa: F401 - as above
import json
import logging
import os
import selectors
import shutil  # noqa: F401 - argparse imports it when it is used, which would be in every pod anew
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from glasshive.cluster.embedded.pods import podinit, sandbox
from glasshive.cluster.embedded.pods.spec import POD_FILE, SOCKET_FILE, ZYGOTE_SOCKET, PodSpec
from glasshive.cluster.embedded.workloads import client, echo, load, pause  # noqa: F401 - in memory for every pod
from glasshive.net import libc

LOG = logging.getLogger("glasshive.zygote")
REQUEST_BYTES = 4096


@dataclass(frozen=True)
class ZygoteConfig:
    """``node_dir`` is RUN/nodes/<node>, ``pods_cgroup`` the directory whose children are the pods' cgroups."""

    node: str
    node_dir: Path
    pods_cgroup: Path


def serve(config: ZygoteConfig, ready: Callable[[], None] = lambda: None) -> None:
    """Be the zygote until SIGTERM. The process must have one thread and be nobody else's business."""
    os.umask(0o022)
    (config.node_dir / "pods").mkdir(mode=0o700, parents=True, exist_ok=True)
    config.pods_cgroup.mkdir(parents=True, exist_ok=True)
    listener = _listen(config.node_dir / ZYGOTE_SOCKET)
    cgroups = os.open(config.pods_cgroup, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    sandbox.enter_base(config.node_dir)
    gc.collect()
    gc.freeze()
    _Zygote(listener, cgroups, own_pids).run(ready)


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(128)
    listener.setblocking(False)
    return listener


class _Zygote:
    def __init__(self, listener: socket.socket, cgroups: int, own_pids: int) -> None:
        self._listener = listener
        self._cgroups = cgroups
        self._own_pids = own_pids
        self._stopping = False
        self._wake_reader, self._wake_writer = socket.socketpair()

    def run(self, ready: Callable[[], None]) -> None:
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stopping", True))
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ, self._accept)
        selector.register(self._wake_reader, selectors.EVENT_READ, self._reap)
        ready()
        while not self._stopping:
            for key, _ in selector.select():
                key.data(selector)

    def _reap(self, _selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue

    def _accept(self, selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(BlockingIOError):
            peer, _ = self._listener.accept()
            selector.register(peer, selectors.EVENT_READ, lambda _s: self._request(selector, peer))

    def _request(self, selector: selectors.BaseSelector, peer: socket.socket) -> None:
        selector.unregister(peer)
        descriptors: list[int] = []
        try:
            data, descriptors, _flags, _address = socket.recv_fds(peer, REQUEST_BYTES, 1)
            if data:
                self._fork(peer, json.loads(data), descriptors[0])
        except (OSError, ValueError, KeyError, IndexError) as error:
            LOG.exception("a request failed")
            with contextlib.suppress(OSError):
                peer.send(b"x" + json.dumps({"error": f"zygote: {error}"}).encode())
        finally:
            for fd in descriptors:
                os.close(fd)
            peer.close()

    def _fork(self, peer: socket.socket, request: dict[str, Any], netns: int) -> None:
        """Fork a child into a new PID namespace. The flag sticks to this process, so it is taken back right after."""
        pid = -1
        libc.unshare(libc.CLONE_NEWPID)
        try:
            pid = os.fork()
        finally:
            if pid:
                libc.setns(self._own_pids, libc.CLONE_NEWPID)
        if pid == 0:
            self._wake_reader.close()
            self._wake_writer.close()
            self._listener.close()
            _become_pod(peer, str(request["uid"]), netns, self._cgroups)
        peer.send(b"p" + json.dumps({"pid": pid}).encode())


def _become_pod(peer: socket.socket, uid: str, netns: int, cgroups: int) -> NoReturn:
    """Everything between the fork and the pod's first process proper."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        cgroup = _join_cgroup(cgroups, uid)
        libc.setns(netns, libc.CLONE_NEWNET)
        directory = os.open(f"{sandbox.POD_DIRS}/{uid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        spec = PodSpec.from_json(Path(f"{sandbox.POD_DIRS}/{uid}/{POD_FILE}").read_bytes())
        listener = _bind(directory)
        volumes = f"{sandbox.POD_DIRS}/{uid}/volumes"
        files = {"hosts": spec.hosts, "resolv.conf": spec.resolv, "hostname": spec.hostname + "\n"}
        sandbox.enter_pod(files, spec.hostname, volumes if Path(volumes).is_dir() else "")
        _keep_only({peer.fileno(), listener.fileno(), directory, cgroup})
        libc.prctl(libc.PR_SET_DUMPABLE, 0)
        libc.set_process_name("podinit")
        libc.set_command_line(f"podinit {spec.namespace}/{spec.name}")
        podinit.PodInit(spec, directory, cgroup).run(listener, peer)
        status = 0
    except BaseException as error:  # the last frame of this process: the kubelet is told
        with contextlib.suppress(OSError):
            peer.setblocking(True)
            peer.send(b"x" + json.dumps({"error": f"sandbox: {error}"}).encode())
        LOG.exception("pod %s ends", uid)
    finally:
        os._exit(status)


def _join_cgroup(cgroups: int, uid: str) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(uid, 0o755, dir_fd=cgroups)
    cgroup = os.open(uid, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=cgroups)
    procs = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup)
    os.write(procs, b"0")
    os.close(procs)
    return cgroup


def _bind(directory: int) -> socket.socket:
    """Bind init.sock by a short path: a socket's address has room for 107 bytes only."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET_FILE, dir_fd=directory)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    os.fchdir(directory)
    listener.bind(SOCKET_FILE)
    Path(SOCKET_FILE).chmod(0o600)
    listener.listen(16)
    os.chdir("/")
    return listener


def _keep_only(wanted: set[int]) -> None:
    for entry in list(Path("/proc/self/fd").iterdir()):
        fd = int(entry.name)
        if fd > 2 and fd not in wanted:
            with contextlib.suppress(OSError):
                os.close(fd)


def main(argv: list[str]) -> int:
    """``python -m glasshive.cluster.embedded.pods.zygote NODE NODE_DIR PODS_CGROUP``: for tests and for a lone node."""
    logging.basicConfig(level=logging.INFO)
    serve(ZygoteConfig(argv[1], Path(argv[2]), Path(argv[3])), lambda: print("ready", flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
