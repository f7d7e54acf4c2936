"""What a lab says of components: no cluster, canned answers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from glasshive.errors import ApiError, ClusterError, NotFoundError
from glasshive.lab import components
from glasshive.model.cluster import ClusterStatus, Completed, PodStatus, ProcessStatus

ROWS = [{"namespace": "lab-02", "pod": "web", "addresses": ["fd00::1", "10.244.1.2"]}]


class Canned:
    """A cluster of two nodes; ``api`` is whether its control plane answers."""

    def __init__(self, *, api: bool = True, said: tuple[int, str] = (0, ""), stopped: str = "") -> None:
        self.api, self.said = api, said
        self.started: list[str] = []
        roles = {"control-plane": "control plane", "node1": "agent", "node2": "agent", "node1-dns": "resolver"}
        self.all = tuple(
            ProcessStatus(name, role, 0 if name == stopped else 7, alive=name != stopped, ready=name != stopped,
                          restarts=3, stopped=name == stopped)
            for name, role in roles.items()
        )  # fmt: skip
        self.backend = SimpleNamespace(status=lambda: ClusterStatus("x", "ready", processes=self.all),
                                       node_request=self.node_request)  # fmt: skip

    def start(self, name: str) -> None:
        self.started.append(name)

    def pods(self, _namespace: str) -> list[PodStatus]:
        if not self.api:
            raise ApiError(503, "ServiceUnavailable", "no answer")
        return [PodStatus("web", "lab-02", "node2", "Running", True, ("10.244.1.2",))]

    def node_request(self, node: str, method: str, path: str, body=None, *, timeout=30.0):
        if path == "/v1/endpoints":
            return ROWS if node == "node2" else []
        assert (method, path, body["namespace"]) == ("POST", "/v1/exec", "lab-02")
        return {"returncode": self.said[0], "stdout": "", "stderr": self.said[1]}

    def kubectl(self, *argv, check, timeout):
        assert argv[:2] == ("--namespace", "lab-02")
        return Completed(1, "", "E1123 noise\nThe connection was refused\n") if not self.api else Completed(0, "ok\n")


@pytest.mark.parametrize("api", [True, False])
def test_a_pod_is_found_with_and_without_the_control_plane(api):
    node, addresses = components.pod_place(Canned(api=api), "lab-02", "web")
    assert node == "node2"
    assert "10.244.1.2" in addresses
    with pytest.raises(NotFoundError, match="no node that answers has a pod 'none'"):
        components.pod_place(Canned(api=api), "lab-02", "none")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ((0, ""), "works"),
        ((6, "curl: (6) Could not resolve host: web"), "fails: nobody says which address web has"),
        ((28, "curl: (28) Resolving timed out after 3001 milliseconds"), "fails: nobody says which address web has"),
        ((7, "curl: (7) Failed to connect"), "curl: (7) Failed to connect"),
    ],
)
def test_abilities_say_what_the_tool_says(monkeypatch, said, shown):
    monkeypatch.setattr(components, "SETTLE_SECONDS", 0.0)
    cluster = Canned(said=said)
    rows = {row["ability"]: row["now"] for row in components.abilities(cluster, "lab-02", "web", "web")}
    assert rows["web reaches web by name"] == shown
    assert rows["kubectl is answered"] == "works"


def test_a_refused_kubectl_is_one_line():
    assert components.kubectl(Canned(api=False), "lab-02", "get", "pods") == (1, "The connection was refused")


def test_rows_count_restarts_from_a_mark():
    rows = components.rows(Canned(stopped="node1"), {"node1": 1}, ["node1", "node2"])
    assert rows == [
        {"component": "node1", "role": "agent", "state": "stopped", "restarts": 2},
        {"component": "node2", "role": "agent", "state": "ready", "restarts": 3},
    ]


def test_what_was_stopped_is_started():
    cluster = Canned(stopped="node1-dns")
    assert components.start_all(cluster) == cluster.started == ["node1-dns"]


def test_what_is_down_cannot_crash():
    with pytest.raises(ClusterError, match=r"node1 is stopped \(cluster.start\('node1'\) starts it\)"):
        components.crash(Canned(stopped="node1"), "node1")
    with pytest.raises(NotFoundError, match="no component 'node9'"):
        components.crash(Canned(), "node9")
