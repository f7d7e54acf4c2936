"""exec, attach, cp, logs and port-forward with the real kubectl and the official Python client, through TLS."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import re
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl import PROGRAM, Kubectl, cluster

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

NAME = f"k-kubectl-{os.getpid()}"
PODS = """
apiVersion: v1
kind: Pod
metadata: {name: two}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: glasshive/echo}
  - {name: side, image: busybox, command: [sh, -c, 'i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done']}
"""
EXEC = ("exec", "two", "-c", "main")


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with cluster(NAME, PODS) as made:
        yield made


def eventually(check: object, what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def running(kubectl: Kubectl, word: str) -> bool:
    return word in kubectl.text(*EXEC, "--", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


# --- exec ---


def test_output_and_exit_codes(kubectl: Kubectl) -> None:
    done = kubectl(*EXEC, "--", "sh", "-c", "echo out; echo err >&2; exit 7", rc=7)
    assert done.stdout == b"out\n"
    assert done.stderr == b"err\ncommand terminated with exit code 7\n"
    assert kubectl(*EXEC, "--", "sh", "-c", "kill -9 $$", rc=137).stdout == b""
    assert b"no-such-program: No such file" in kubectl(*EXEC, "--", "no-such-program", rc=1).stderr
    assert b"main, side" in kubectl("exec", "two", "-c", "other", "--", "true", rc=1).stderr
    assert b'pods "none" not found' in kubectl("exec", "none", "--", "true", rc=1).stderr


def test_five_megabytes_out_and_in(kubectl: Kubectl) -> None:
    """More than any queue on the way holds, in both directions, checked by its sum."""
    sent = os.urandom(5_000_000)
    back = kubectl("exec", "-i", "two", "-c", "main", "--", "tee", "/tmp/five", stdin=sent).stdout
    assert hashlib.md5(back).digest() == hashlib.md5(sent).digest()
    assert kubectl(*EXEC, "--", "cat", "/tmp/five").stdout == sent
    assert kubectl.text("exec", "-i", "two", "-c", "main", "--", "wc", "-c", stdin=sent).strip() == "5000000"
    # A reader that stops early ends the input, not the connection.
    assert len(kubectl("exec", "-i", "two", "-c", "main", "--", "head", "-c", "10", stdin=sent).stdout) == 10


def test_a_slow_reader_gets_all_of_a_command_that_has_ended(kubectl: Kubectl) -> None:
    """The command's last word is said, and its input still comes, long before its output has been read."""
    with Path("/dev/zero").open("rb") as endless:
        client = kubectl.start(
            "exec", "-i", "two", "-c", "main", "--", "head", "-c", "1000000", "/dev/urandom",
            stdin=endless, stdout=subprocess.PIPE,
        )  # fmt: skip
    assert client.stdout is not None
    received = 0
    while piece := client.stdout.read(100_000):
        received += len(piece)
        running(kubectl, "head")  # something else to do between two looks
    assert received == 1_000_000
    assert client.wait(90) == 0


def test_copy_there_and_back(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "file").write_bytes(os.urandom(2_000_000))
    kubectl("cp", str(tmp_path / "tree"), "two:/tmp/tree", "-c", "main")
    kubectl("cp", "two:/tmp/tree", str(tmp_path / "back"), "-c", "main")
    assert (tmp_path / "back/below/file").read_bytes() == (tmp_path / "tree/below/file").read_bytes()


def test_a_terminal_that_changes_its_size(kubectl: Kubectl) -> None:
    master, slave = pty.openpty()
    struct_size = struct.pack("HHHH", 33, 99, 0, 0)
    import fcntl
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct_size)
    shell = subprocess.Popen(
        [PROGRAM, "exec", "-it", "two", "-c", "main", "--", "sh"], stdin=slave, stdout=slave, stderr=slave,
        env=kubectl.environment, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    screen = b""

    def type_until(line: bytes, expected: bytes) -> None:
        nonlocal screen
        os.write(master, line)
        deadline = time.monotonic() + 60
        while expected not in screen:
            assert time.monotonic() < deadline, screen
            if select.select([master], [], [], 0.2)[0]:
                screen += os.read(master, 65536)

    type_until(b"", b"# ")
    type_until(b"tty; echo $TERM\r", b"xterm")
    assert b"/dev/pts/0" in screen
    for _ in range(20):  # the first size is sent while the shell starts
        type_until(b"stty size\r", b"# ")
        if b"33 99" in screen:
            break
        time.sleep(0.1)
    type_until(b"sleep 55; echo sl''ept\r", b"sleep 55")
    type_until(b"\x03", b"^C")
    type_until(b"exit 9\r", b"exit 9")
    assert shell.wait(60) == 9
    os.close(master)
    assert b"33 99" in screen


def test_nothing_stays_of_a_killed_client(kubectl: Kubectl) -> None:
    """Sessions and process groups of its own do not help a command to outlive the one who ran it."""
    script = "setsid sleep 4711 & sleep 4711 & exec sleep 4711"
    client = kubectl.start(*EXEC, "--", "sh", "-c", script)
    eventually(lambda: running(kubectl, "sleep 4711"), "the command runs")
    client.kill()
    client.wait()
    eventually(lambda: not running(kubectl, "sleep 4711"), "killed with its client")
    groups = f"/sys/fs/cgroup/glasshive/{NAME}"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            groups = f"{line.split()[1]}/glasshive/{NAME}"
    eventually(lambda: not list(Path(groups).glob("*/pods/*/main/exec-*")), "no cgroup stays")


def test_what_a_finished_command_left_in_the_background_goes_on(kubectl: Kubectl) -> None:
    kubectl(*EXEC, "--", "sh", "-c", "sleep 4712 >/dev/null 2>&1 & true")
    assert running(kubectl, "sleep 4712")
    kubectl(*EXEC, "--", "pkill", "-f", "sleep 4712")


def test_commands_side_by_side(kubectl: Kubectl) -> None:
    clients = [kubectl.start(*EXEC, "--", "sh", "-c", f"sleep 0.5; exit {n}") for n in range(1, 9)]
    assert [client.wait(90) for client in clients] == list(range(1, 9))


def test_the_python_clients_stream(kubectl: Kubectl) -> None:
    from kubernetes import client, config
    from kubernetes.stream import portforward, stream

    with config.new_client_from_config(kubectl.kubeconfig) as api_client:
        api = client.CoreV1Api(api_client)
        wish = {"container": "main", "stdout": True, "stderr": True, "tty": False}
        run = api.connect_get_namespaced_pod_exec
        out = stream(run, "two", "default", command=["sh", "-c", "echo a; echo b >&2"], stdin=False, **wish)
        assert sorted(out.split()) == ["a", "b"]
        with_input = stream(run, "two", "default", command=["cat"], stdin=True, _preload_content=False, **wish)
        with_input.write_stdin("ping\n")
        assert with_input.readline_stdout(timeout=60) == "ping"
        with_input.close_channel(0)
        with_input.run_forever(timeout=60)
        assert with_input.returncode == 0
    with config.new_client_from_config(kubectl.kubeconfig) as api_client:
        forward = client.CoreV1Api(api_client).connect_get_namespaced_pod_portforward
        tunnel = portforward(forward, "two", "default", ports="8080")
        connection = tunnel.socket(8080)
        connection.setblocking(True)
        connection.sendall(b"GET /hostname HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(4096).endswith(b"two\n")


# --- run and attach ---


def test_run_with_input_and_attach(kubectl: Kubectl) -> None:
    command = ("run", "-i", "--rm", "--restart=Never", "--image=busybox")
    script = "echo ready; read word; echo got $word; exit 5"
    done = kubectl(*command, "asks", "--command", "--", "sh", "-c", script, stdin=b"answer\n", rc=5)
    assert b"got answer\n" in done.stdout
    assert kubectl(*command, "quick", "--", "echo", "hello").stdout.startswith(b"hello\n")
    attached = kubectl.start("attach", "two", "-c", "side", stdout=subprocess.PIPE)
    assert attached.stdout is not None
    assert attached.stdout.readline().startswith(b"tick ")
    attached.terminate()
    attached.wait()
    assert kubectl.text("get", "pod", "two", "-o", "jsonpath={.status.containerStatuses[1].restartCount}") == "0"


# --- logs ---


def test_logs_and_their_options(kubectl: Kubectl) -> None:
    side = ("logs", "two", "-c", "side")
    eventually(lambda: len(kubectl.text(*side).splitlines()) >= 30, "thirty lines, which take more than five seconds")
    lines = kubectl.text(*side).splitlines()
    assert lines[:2] == ["tick 1", "tick 2"]
    last = kubectl.text(*side, "--tail=3", "--timestamps").splitlines()
    assert len(last) == 3
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z tick \d+", line) for line in last)
    recent = kubectl.text(*side, "--since=4s").splitlines()
    assert 1 <= len(recent) <= 21  # a line every 0.2 s at most
    since = last[0].split()[0]
    after = kubectl.text(*side, f"--since-time={since}").splitlines()  # kubectl itself cuts this to the second
    assert after.index(last[0].split(" ", 1)[1]) <= 5
    assert kubectl.text(*side, "--limit-bytes=10") == "tick 1\ntic"
    both = kubectl.text("logs", "two", "--all-containers", "--prefix", "--tail=1")
    assert "[pod/two/main] listening" in both
    assert "[pod/two/side] tick" in both
    assert b'"nobody" not found' in kubectl("logs", "nobody", rc=1).stderr


def test_following_ends_with_the_container_and_previous_shows_the_run_before(kubectl: Kubectl) -> None:
    script = "n=$(date +%s%N); echo run $n; sleep 0.7; echo end $n; exit 3"
    pod = f"""
apiVersion: v1
kind: Pod
metadata: {{name: again}}
spec:
  containers: [{{name: main, image: busybox, command: [sh, -c, '{script}']}}]
"""
    kubectl("apply", "-f", "-", stdin=pod.encode())
    kubectl("wait", "pod", "again", "--for=jsonpath={.status.containerStatuses[0].state.running}", "--timeout=60s")
    followed = kubectl.text("logs", "-f", "again").split()
    assert (followed[0], followed[2]) == ("run", "end")
    restarts = "jsonpath={.status.containerStatuses[0].restartCount}"
    eventually(lambda: kubectl.text("get", "pod", "again", "-o", restarts) not in {"", "0"}, "it is run again")
    assert kubectl.text("logs", "--previous", "again").split()[2] == "end"
    kubectl("delete", "pod", "again", "--now")


# --- port-forward ---


@contextlib.contextmanager
def forwarding(kubectl: Kubectl, *ports: str) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    client = kubectl.start("port-forward", "pod/two", *ports, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert client.stdout is not None
        local: list[int] = []
        while len(local) < len(ports):
            found = re.search(rb"127\.0\.0\.1:(\d+) ->", client.stdout.readline())
            local += [int(found[1])] if found else []
        yield client, local
    finally:
        client.kill()
        client.communicate()


def test_twenty_connections_one_of_them_reset(kubectl: Kubectl) -> None:
    results: dict[int, bool] = {}

    def talk(port: int, number: int) -> None:
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.settimeout(60)
            if number == 7:
                connection.sendall(b"x" * 1000)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return  # closing resets it now
            sent = os.urandom(300_000 + number)
            writer = threading.Thread(target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR)))
            writer.start()
            received = b""
            while piece := connection.recv(65536):
                received += piece
            writer.join()
            results[number] = received == sent

    with forwarding(kubectl, ":9000", ":8080") as (client, (echo, web)):
        threads = [threading.Thread(target=talk, args=(echo, number)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [n for n in range(20) if n != 7]
        assert all(results.values())
        with socket.create_connection(("127.0.0.1", web), 60) as connection:
            connection.sendall(b"GET /bytes/20000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            size = 0
            while piece := connection.recv(1 << 20):
                size += len(piece)
        assert size > 20_000_000
        assert client.poll() is None


def test_nobody_listens(kubectl: Kubectl) -> None:
    """kubectl's own rule: a connection that cannot be made ends the forwarding, and says why."""
    with forwarding(kubectl, ":81") as (client, (port,)):
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.settimeout(60)
            assert connection.recv(100) == b""
        _, told = client.communicate(timeout=60)
        assert b"81" in told
        assert b"Connect call failed" in told


def test_refusals_are_clear(kubectl: Kubectl) -> None:
    assert b'pods "none" not found' in kubectl("port-forward", "pod/none", ":80", rc=1).stderr
    path = "/api/v1/namespaces/default/pods/two/exec?command=true&stdout=1&container=main"
    told = kubectl("get", "--raw", path, rc=1).stderr
    assert b"WebSocket" in told
