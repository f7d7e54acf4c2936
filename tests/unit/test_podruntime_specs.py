"""What the kubelet works out without touching anything: specs, status, images, logs, volumes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from glasshive.cluster.embedded.kubelet import containers, logs, volumes
from glasshive.cluster.embedded.kubelet.config import KubeletConfig
from glasshive.cluster.embedded.kubelet.status import Observed, pod_status
from glasshive.cluster.embedded.pods import sandbox
from glasshive.cluster.embedded.pods.crilog import LINE_BYTES, LogFile, stamp
from glasshive.cluster.embedded.pods.spec import PodSpec
from glasshive.cluster.embedded.workloads import catalogue
from glasshive.errors import ManifestError, NotFoundError

CONFIG = KubeletConfig("c", "node1", Path("/none"), Path("/none"), ("172.30.0.11",), ("10.96.0.10", "fd00:10:96::a"))
PLACE = containers.Place(("10.244.0.5", "fd00::5"), ("172.30.0.11",))


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "glasshive/echo", **(container or {})}
    meta = {"name": "p", "namespace": "ns", "uid": "u-1", "labels": {"app": "x"}}
    return {"metadata": meta, "spec": {"nodeName": "node1", "containers": [main], **spec}, "status": {}}


# -- images


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "nginx"),
        ("docker.io/library/nginx:1.27", "nginx"),
        ("nginx@sha256:abc", "nginx"),
        ("index.docker.io/nicolaka/netshoot:v1", "nicolaka/netshoot"),
        ("quay.io/cilium/json-mock:v1.3.8@sha256:00", "quay.io/cilium/json-mock"),
        ("localhost:5000/glasshive/echo", "localhost:5000/glasshive/echo"),
    ],
)
def test_image_names(image: str, name: str) -> None:
    assert catalogue.normalise(image) == name


def test_unknown_image_names_what_there_is() -> None:
    with pytest.raises(NotFoundError, match=r"example\.org/x:1.*glasshive/client, glasshive/echo"):
        catalogue.find("example.org/x:1")
    assert containers.check_images(pod({"image": "example.org/x:1"}))[0][0] == "main"


def test_commands_combine_as_in_kubernetes() -> None:
    assert catalogue.resolve("nginx", [], [], {}).args == ("--profile", "web", "--http", "80")
    assert catalogue.resolve("glasshive/echo", [], ["--http", "1"], {}).args == ("--http", "1")
    assert catalogue.resolve("busybox", ["sleep"], ["5"], {}).argv == ("sleep", "5")
    assert catalogue.resolve("curlimages/curl", [], ["-s", "x"], {}).argv == ("curl", "-s", "x")
    assert catalogue.resolve("busybox", [], [], {}).workload.endswith("client:main")
    assert catalogue.resolve("busybox", [], [], {}, stdin=True).argv == ("sh",)
    assert catalogue.resolve("busybox", [], ["echo", "hi"], {}).argv == ("echo", "hi")
    assert catalogue.resolve("quay.io/cilium/alpine-curl", ["/usr/bin/pause"], [], {}).workload.endswith("pause:main")
    assert catalogue.resolve("quay.io/cilium/json-mock", [], [], {"PORT": "8080"}).args[-1] == "8080"
    echo = catalogue.resolve("hashicorp/http-echo", [], ["-listen=:5000", "-text=hi"], {})
    assert echo.args == ("--http", "5000", "--text", "hi")
    agnhost = catalogue.resolve("registry.k8s.io/e2e-test-images/agnhost:2.45", [], ["netexec", "--http-port=80"], {})
    assert agnhost.args == ("--http", "80", "--udp", "8081")
    for image in catalogue.known_images():
        assert catalogue.resolve(image, [], [], {}) is not None


# -- environment and specs


def test_environment_sources_and_expansion() -> None:
    objects: containers.Objects = {
        ("ConfigMap", "settings"): {"data": {"A": "1", "B": "2"}},
        ("Secret", "key"): {"data": {"token": "c2VzYW1l"}},
        ("ConfigMap", "absent"): None,
    }
    container = {
        "envFrom": [
            {"prefix": "P_", "configMapRef": {"name": "settings"}},
            {"configMapRef": {"name": "absent", "optional": True}},
        ],
        "env": [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token"}}},
            {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "x", "optional": True}}},
            {"name": "URL", "value": "http://$(IP)/$(P_A)/$(NOPE)/$$(IP)"},
        ],
    }
    env = containers.environment(pod(), container, objects, PLACE)
    assert env["URL"] == "http://10.244.0.5/1/$(NOPE)/$(IP)"
    assert (env["APP"], env["TOKEN"], env["HOSTNAME"]) == ("x", "sesame", "p")
    assert "GONE" not in env
    assert containers.references(pod(container)) == set(objects)
    with pytest.raises(ManifestError, match="ConfigMap 'absent' is not there"):
        containers.environment(pod(), {"envFrom": [{"configMapRef": {"name": "absent"}}]}, objects, PLACE)
    wrong = {"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "z"}}}]}
    with pytest.raises(ManifestError, match="no key 'z'"):
        containers.environment(pod(), wrong, objects, PLACE)
    with pytest.raises(ManifestError, match=r"spec\.nothing"):
        containers.pod_field(pod(), "spec.nothing", PLACE)


def test_pod_spec_survives_its_file() -> None:
    manifest = pod(
        {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a", "readOnly": True}]}, restartPolicy="Never"
    )
    spec = containers.pod_spec(manifest, CONFIG, {}, PLACE)
    assert PodSpec.from_json(spec.to_json()) == spec
    assert spec.containers[0].mounts[0].source == "v/a"
    assert "10.244.0.5\tp\nfd00::5\tp\n" in spec.hosts
    assert spec.resolv.startswith("nameserver 10.96.0.10\nnameserver fd00:10:96::a\nsearch ns.svc.cluster.local")


def test_capabilities_are_never_those_over_the_machine() -> None:
    def mask(security: dict[str, Any]) -> int:
        return containers.pod_spec(pod({"securityContext": security}), CONFIG, {}, PLACE).containers[0].capabilities

    net_raw, net_admin, sys_admin = 1 << 13, 1 << 12, 1 << 21
    assert mask({}) & net_raw
    assert not mask({}) & net_admin
    assert mask({"capabilities": {"add": ["NET_ADMIN"]}}) & net_admin
    assert mask({"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}) == net_raw
    assert not mask({"privileged": True, "capabilities": {"add": ["SYS_ADMIN", "BPF"]}}) & (sys_admin | 1 << 39)
    assert sandbox.capability_mask({"NO_SUCH"}) == 0


# -- volumes


def test_volumes_stay_in_their_place(tmp_path: Path) -> None:
    objects: containers.Objects = {("ConfigMap", "m"): {"data": {"k": "text"}, "binaryData": {"b": "AAE="}}}
    volume = {"name": "v", "configMap": {"name": "m"}}
    volumes.materialise(pod(volumes=[volume]), tmp_path, objects, PLACE)
    assert (tmp_path / "v/k").read_text() == "text"
    assert (tmp_path / "v/b").read_bytes() == b"\0\1"
    outside = {"name": "w", "configMap": {"name": "m", "items": [{"key": "k", "path": "../x"}]}}
    with pytest.raises(ManifestError, match="leaves its volume"):
        volumes.materialise(pod(volumes=[outside]), tmp_path, objects, PLACE)
    with pytest.raises(ManifestError, match="kind hostPath is not offered"):
        volumes.materialise(pod(volumes=[{"name": "h", "hostPath": {"path": "/"}}]), tmp_path, objects, PLACE)
    with pytest.raises(ManifestError, match="which the pod does not have"):
        volumes.materialise(pod({"volumeMounts": [{"name": "no", "mountPath": "/x"}]}), tmp_path, objects, PLACE)


# -- status


def account(*states: dict[str, Any], over: bool = False) -> dict[str, Any]:
    rows = [
        {"name": "main", "image": "i", "state": s, "lastState": {}, "restartCount": 0, "containerID": "glasshive://1"}
        for s in states
    ]
    return {"uid": "u-1", "over": over, "initContainers": [], "containers": rows}


def ended(code: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}


@pytest.mark.parametrize(
    ("policy", "seen", "phase"),
    [
        ("Always", Observed(), "Pending"),
        ("Always", Observed(account({"running": {}})), "Running"),
        ("Always", Observed(account(ended(0))), "Running"),
        ("Never", Observed(account(ended(0))), "Succeeded"),
        ("Never", Observed(account(ended(2))), "Failed"),
        ("OnFailure", Observed(account(ended(2))), "Running"),
        ("OnFailure", Observed(account(ended(2), over=True)), "Failed"),
        ("OnFailure", Observed(account(ended(0))), "Succeeded"),
    ],
)
def test_phases(policy: str, seen: Observed, phase: str) -> None:
    assert pod_status(pod(restartPolicy=policy), seen, "now")["phase"] == phase


def test_conditions_keep_their_time_while_they_hold() -> None:
    manifest = pod()
    first = pod_status(manifest, Observed(account({"running": {}}), ready={"main": False}), "t1")
    conditions = {c["type"]: c for c in first["conditions"]}
    assert conditions["Ready"]["status"] == "False"
    assert conditions["Ready"]["message"] == "containers with unready status: [main]"
    manifest["status"] = {"conditions": [*first["conditions"], {"type": "example.org/mine", "status": "True"}]}
    second = pod_status(manifest, Observed(account({"running": {}}), ready={"main": True}), "t2")
    conditions = {c["type"]: c for c in second["conditions"]}
    assert (conditions["Ready"]["status"], conditions["Ready"]["lastTransitionTime"]) == ("True", "t2")
    assert conditions["PodScheduled"]["lastTransitionTime"] == "t1"
    assert conditions["example.org/mine"]["status"] == "True"


# -- logs


def read_log(directory: Path, **options: Any) -> bytes:
    async def run() -> bytes:
        pieces = [piece async for piece in logs.read(directory, logs.LogOptions(**options), lambda: False)]
        return b"".join(pieces)

    return asyncio.run(run())


def test_log_lines_pieces_and_rotation(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    log = LogFile(fd, "0.log", limit_bytes=60_000)
    log.write("stdout", b"one\ntw")
    log.write("stderr", b"err\n")
    log.write("stdout", b"o\n" + b"x" * (2 * LINE_BYTES + 5))
    log.write("stdout", b"\nlast")
    log.close()
    lines = (tmp_path / "0.log").read_bytes().splitlines()
    assert [line.split(b" ")[1:3] for line in lines[:3]] == [[b"stdout", b"F"], [b"stderr", b"F"], [b"stdout", b"F"]]
    assert sum(line.split(b" ")[2] == b"P" for line in lines) == 2
    assert read_log(tmp_path) == b"one\nerr\ntwo\n" + b"x" * (2 * LINE_BYTES + 5) + b"\nlast\n"
    assert read_log(tmp_path, tail=1) == b"last\n"
    assert read_log(tmp_path, limit_bytes=5) == b"one\ner"[:5]
    again = LogFile(fd, "1.log", limit_bytes=100)
    for number in range(4):
        again.write("stdout", b"line %d of the second run\n" % number)
    again.close()
    assert (tmp_path / "1.log.1").exists()
    assert b"line 3" in read_log(tmp_path)
    assert read_log(tmp_path, previous=True, tail=1) == b"last\n"
    with pytest.raises(FileNotFoundError):
        read_log(tmp_path / "none")
    os.close(fd)


def test_stamps() -> None:
    assert stamp(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456789Z"
