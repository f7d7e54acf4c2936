"""Certificates, kubeconfig, the supervisor's state and its socket."""

import ssl
import stat
import threading

from glasshive.cluster.embedded import control_socket, kubeconfig, pki
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.cluster.embedded.private_file import write_private
from glasshive.cluster.embedded.state import ProcessState, State
from glasshive.kube.endpoint import from_kubeconfig


def test_certificate_serves_loopback_and_names(tmp_path):
    ca, cert, key = pki.make("x", ["10.96.0.1", "fd00:10:96::1"])
    write_private(tmp_path / "ca", ca)
    write_private(tmp_path / "cert", cert)
    write_private(tmp_path / "key", key)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    for host in ("127.0.0.1", "localhost", "kubernetes.default.svc", "10.96.0.1", "fd00:10:96::1"):
        assert _handshake(tmp_path, host) == ""
    assert "IP address mismatch" in _handshake(tmp_path, "10.96.0.2")


def _handshake(path, host):
    """TLS in memory: the client's error, or nothing."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path / "cert", path / "key")
    client = ssl.create_default_context(cafile=path / "ca")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near, far = client.wrap_bio(down, up, server_hostname=host), server.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return str(error)
    return ""


def test_kubeconfig_is_understood(tmp_path):
    ca, _, _ = pki.make("x", [])
    file = tmp_path / "kubeconfig"
    write_private(file, kubeconfig.render("x", "https://127.0.0.1:6443", ca, "secret"))
    endpoint = from_kubeconfig(file, "glasshive-x")
    assert (endpoint.url, endpoint.token) == ("https://127.0.0.1:6443", "secret")


def test_state_round_trip(tmp_path):
    state = State(supervisor="1:2", facts={"api_port": 5})
    state.processes["node1"] = ProcessState("node1", "agent", ident="7:8", restarts=1, last_exit="signal 9")
    for n in range(120):
        state.note(f"event {n}")
    state.write(tmp_path / "state.json")
    again = State.read(tmp_path / "state.json")
    assert again == state
    assert again.processes["node1"].pid == 7
    assert len(again.events) == 100
    assert State.read(tmp_path / "none") is None


def test_control_socket_answers_and_survives_nonsense(tmp_path):
    path = tmp_path / "s.sock"
    assert control_socket.ask(path, "status") is None
    server = control_socket.listen(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.setblocking(True)

    def serve():
        for _ in range(2):
            control_socket.serve_one(server, lambda request: {"ok": True, "command": request["command"]})

    thread = threading.Thread(target=serve)
    thread.start()
    import socket

    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(path))
        rude.sendall(b"nonsense\n")
    assert control_socket.ask(path, "status") == {"ok": True, "command": "status"}
    thread.join()
    server.close()


def test_a_client_that_was_dropped_asks_again(tmp_path):
    """A busy machine may hold a client up between connecting and writing until it is taken for one that stalls."""
    path = tmp_path / "s.sock"
    server = control_socket.listen(path)
    server.setblocking(True)

    def serve():
        server.accept()[0].close()
        control_socket.serve_one(server, lambda _: {"ok": True})

    thread = threading.Thread(target=serve)
    thread.start()
    assert control_socket.ask(path, "status") == {"ok": True}
    thread.join()
    server.close()


def test_paths_are_the_agreed_ones():
    paths = ClusterPaths("demo")
    assert str(paths.api_socket) == "/run/glasshive/demo/api.sock"
    assert str(paths.node_socket("node1")) == "/run/glasshive/demo/nodes/node1/node.sock"
    assert str(paths.log("control-plane")) == "/run/glasshive/demo/log/control-plane.log"
    assert list(paths.all_netns(["node1"])) == ["gh-demo-fabric", "gh-demo-world", "gh-demo-node1"]
    assert str(paths.node_cgroup("node1")).endswith("/glasshive/demo/node1")
