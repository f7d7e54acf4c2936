"""What is left of a cluster on disk may be damaged: every reader says so in one line, and ``down`` still works."""

import json

import pytest

from glasshive import cli
from glasshive.cluster import manifests
from glasshive.cluster.embedded import launch, paths, record
from glasshive.cluster.embedded.backend import phase_of
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.cluster.embedded.state import State
from glasshive.cluster.session import Cluster, connect
from glasshive.errors import CapabilityError, ClusterError, ManifestError, NotFoundError, UsageError

DAMAGED = [
    "",
    "{",
    "[]",
    "{}",
    '{"config": null, "nodes": 3}',
    '{"config": {"nodes": "x"}, "nodes": {}, "context": ""}',
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUN_ROOT", tmp_path)
    where = ClusterPaths("demo")
    where.run.mkdir()
    record.write(ClusterConfig(name="demo", nodes=2, routing="tunnel"), where)
    return where


def test_what_is_written_is_read_back(place):
    held = record.read(place)
    assert held.config == ClusterConfig(name="demo", nodes=2, routing="tunnel")
    assert held.context == "glasshive-demo"
    assert held.netns == {"node1": "gh-demo-node1", "node2": "gh-demo-node2"}


@pytest.mark.parametrize("text", DAMAGED)
def test_damage_is_named_with_the_way_out(place, text, capsys):
    place.cluster_file.write_text(text)
    with pytest.raises(
        ClusterError, match=r"demo/cluster.json is damaged: .*\(glasshive down demo removes the cluster"
    ):
        connect("demo")
    assert cli.main(["status", "demo"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_one_damaged_cluster_does_not_hide_the_others(place, capsys):
    place.cluster_file.write_text("{")
    other = ClusterPaths("other")
    other.run.mkdir()
    record.write(ClusterConfig(name="other"), other)
    State(phase="ready").write(other.state_file)
    assert cli.main(["ls", "-o", "json"]) == 0
    assert [(row["name"], row["phase"], row["nodes"]) for row in json.loads(capsys.readouterr().out)] == [
        ("demo", "broken", 0),
        ("other", "unsupervised", 3),
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}'])
def test_a_damaged_state_file_is_like_none(place, text):
    place.state_file.write_text(text)
    assert State.read(place.state_file) is None
    assert phase_of(place) == "broken"


def test_a_directory_without_the_file_says_what_to_do(place):
    place.cluster_file.unlink()
    with pytest.raises(NotFoundError, match="glasshive down demo removes them"):
        record.read(place)


def test_names_that_are_empty_are_not_the_usual_name(capsys):
    assert cli.main(["up", ""]) == 2
    assert cli.main(["--cluster", "", "status"]) == 2
    assert capsys.readouterr().err.count("name: '' is not allowed") == 2


@pytest.mark.parametrize(
    "command", [["up", "--timeout", "0"], ["exec", "--timeout", "-1", "p", "x"], ["logs", "--tail", "-3", "p"]]
)
def test_numbers_out_of_range_are_refused(command, capsys):
    assert cli.main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_no_cgroup_is_said_before_anything_is_made(place, monkeypatch):
    monkeypatch.setattr(launch, "require_root", lambda: None)
    monkeypatch.setattr(launch, "cgroup_is_mounted", lambda: False)
    with pytest.raises(CapabilityError, match=r"cgroup v2, which is not mounted .*mount -t cgroup2"):
        launch.up(ClusterConfig(name="fresh"), print, 5)
    with pytest.raises(UsageError, match="timeout: 0 is not allowed"):
        launch.up(ClusterConfig(name="fresh"), print, 0)
    assert not ClusterPaths("fresh").run.exists()


@pytest.mark.parametrize("config", [{"bogus": 1}, 3])
def test_a_configuration_with_unknown_fields_is_refused(config):
    with pytest.raises(UsageError, match=r"config: .*allowed: "):
        Cluster("x", config=config)
    assert Cluster("x", config={"nodes": 1}).name == "x"


@pytest.mark.parametrize("source", [None, 3, ["a"]])
def test_what_is_no_manifest_is_refused(source):
    with pytest.raises(ManifestError, match="manifest: is "):
        manifests.load(source)


def test_a_system_call_that_fails_is_one_line(place, monkeypatch, capsys):
    def refuse(_):
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr("glasshive.cluster.session.connect", refuse)
    assert cli.main(["status", "demo"]) == 1
    assert capsys.readouterr().err.startswith("glasshive: error: [Errno 13] Permission denied: '/somewhere'")


def test_down_checks_all_names_before_it_removes_any(place, monkeypatch, capsys):
    monkeypatch.setattr(launch, "require_root", lambda: None)
    assert cli.main(["down", "demo", "nosuch", "other"]) == 1
    assert "there is no cluster nosuch, other" in capsys.readouterr().err
    assert place.cluster_file.exists()
    assert cli.main(["down", "demo", "Bad_name"]) == 2
    assert place.cluster_file.exists()


def test_down_all_with_nothing_up_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "RUN_ROOT", tmp_path)
    monkeypatch.setattr(launch, "require_root", lambda: None)
    assert cli.main(["down", "--all"]) == 0
    assert capsys.readouterr().out == "no cluster is up\n"
