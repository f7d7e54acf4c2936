"""Probes, init containers, volumes, host network, graceful ends; and a kubelet that dies under all of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import Any

import pytest

from control_plane import eventually
from glasshive.api.resources import CONFIG_MAP, POD, SECRET
from glasshive.net import netns
from kubelet_node import KubeletNode, is_ready, kubelet_node

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

QUICK = {"periodSeconds": 1, "failureThreshold": 1}


def restarts(status: dict[str, Any]) -> int:
    return status["containerStatuses"][0]["restartCount"] if status.get("containerStatuses") else 0


def test_probes_decide_about_readiness_and_restart() -> None:
    async def scenario() -> None:
        async with kubelet_node("e-probe") as node:
            wait_for_file = {"readinessProbe": {**QUICK, "exec": {"command": ["test", "-e", "/tmp/go"]}}}
            await node.add("by-exec", container=wait_for_file)
            await node.add("by-http", container={
                "ports": [{"name": "web", "containerPort": 8080}],
                "readinessProbe": {**QUICK, "httpGet": {"path": "/healthz", "port": "web"}},
                "livenessProbe": {"periodSeconds": 1, "tcpSocket": {"port": 8080}},
            })  # fmt: skip
            await node.add(
                "sick", container={"livenessProbe": {**QUICK, "httpGet": {"path": "/status/500", "port": 8080}}}
            )
            is_up = {"command": ["test", "-e", "/tmp/up"]}
            await node.add("slow", container={
                "startupProbe": {"periodSeconds": 1, "failureThreshold": 30, "exec": is_up},
                "livenessProbe": {**QUICK, "exec": is_up},
            })  # fmt: skip
            await node.ready("by-http")
            status = await node.until("by-exec", lambda s: s.get("phase") == "Running")
            assert not is_ready(status)
            assert (await node.run("by-exec", "touch", "/tmp/go"))["returncode"] == 0
            await node.ready("by-exec")
            await node.run("by-exec", "rm", "/tmp/go")
            await node.until("by-exec", lambda s: not is_ready(s))
            await node.until("sick", lambda s: restarts(s) >= 1, 15)
            assert restarts(await node.status("slow")) == 0, "liveness waits for the startup probe"
            await node.run("slow", "touch", "/tmp/up")
            await node.ready("slow")
            assert restarts(await node.status("by-http")) == 0

    asyncio.run(scenario())


def test_init_containers_volumes_and_the_environment() -> None:
    async def scenario() -> None:
        async with kubelet_node("e-vol") as node:
            await node.client.create(
                CONFIG_MAP, CONFIG_MAP.object("page", "default", data={"index": "hello", "other": "x"})
            )
            await node.client.create(SECRET, SECRET.object("key", "default", data={"token": "c2VzYW1l"}))
            volumes = [
                {"name": "scratch", "emptyDir": {}},
                {"name": "page", "configMap": {"name": "page", "items": [{"key": "index", "path": "sub/index.txt"}]}},
                {"name": "key", "secret": {"secretName": "key"}},
                {
                    "name": "about",
                    "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]},
                },
            ]
            mounts = [
                {"name": "scratch", "mountPath": "/scratch"},
                {"name": "page", "mountPath": "/page", "readOnly": True},
            ]
            more = [{"name": "key", "mountPath": "/key"}, {"name": "about", "mountPath": "/about"}]
            first = {"name": "first", "image": "busybox", "command": ["sh", "-c", "echo from-init > /scratch/note"]}
            second = {"name": "second", "image": "busybox", "command": ["sh", "-c", "cat /scratch/note; sleep 0.3"]}
            env = [
                {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token"}}},
                {"name": "BOTH", "value": "$(ADDRESS)-$(TOKEN)"},
            ]
            await node.add(
                "full", container={"volumeMounts": [*mounts, *more], "env": env},
                initContainers=[{**first, "volumeMounts": mounts[:1]}, {**second, "volumeMounts": mounts[:1]}],
                volumes=volumes, hostAliases=[{"ip": "10.9.8.7", "hostnames": ["other.example"]}],
            )  # fmt: skip
            status = await node.ready("full")
            assert [c["state"]["terminated"]["exitCode"] for c in status["initContainerStatuses"]] == [0, 0]
            assert (await node.ask("GET", "/containerLogs/default/full/second"))[1] == "from-init\n"
            files = "/scratch/note /page/sub/index.txt /key/token /about/name"
            script = f"cat {files}; echo; echo $BOTH; cat /etc/hosts; echo x > /page/new"
            answer = await node.run("full", "sh", "-c", script)
            assert answer["stdout"].startswith(f"from-init\nhellosesamefull\n{status['podIP']}-sesame\n")
            assert "10.9.8.7\tother.example" in answer["stdout"]
            assert "Read-only file system" in answer["stderr"]
            await node.add("host", "glasshive/client", hostNetwork=True)
            status = await node.ready("host")
            assert status["podIP"] == "172.30.0.11"
            assert "ghe" in (await node.run("host", "ls", "/sys/class/net"))["stdout"], "it sees the node's devices"

    asyncio.run(scenario())


def test_an_end_with_grace_and_one_without() -> None:
    async def scenario() -> None:
        async with kubelet_node("e-end") as node:
            stubborn = {"command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}
            await node.add("stubborn", "busybox", container=stubborn, terminationGracePeriodSeconds=1)
            await node.add("polite", terminationGracePeriodSeconds=30)
            await node.add("forced", "busybox", container=stubborn, terminationGracePeriodSeconds=600)
            for name in ("stubborn", "polite", "forced"):
                await node.ready(name)
            began = time.monotonic()
            for name in ("stubborn", "polite", "forced"):
                await node.client.delete(POD, name, "default")
            await node.deleted("polite")
            assert time.monotonic() - began < 1.0, "an echo server ends at SIGTERM"
            await node.deleted("stubborn")
            assert 1.0 <= time.monotonic() - began < 4.0
            await node.client.delete(POD, "forced", "default", grace_seconds=0)
            await node.deleted("forced")
            await eventually(lambda: not netns.names("gh-e-end-pod-"))
            await eventually(lambda: not list((node.node_dir / "pods").iterdir()))

    asyncio.run(scenario())


def first_process(node: KubeletNode, uid: str) -> int:
    record = json.loads((node.node_dir / "pods" / uid / "sandbox.jsonl").read_text().splitlines()[-1])
    return int(record["process"].partition(":")[0])


def test_pods_outlive_their_kubelet_and_a_lost_pod_is_made_anew() -> None:
    async def scenario() -> None:
        async with kubelet_node("e-dead") as node:
            for name in ("stays", "goes", "crashed"):
                await node.add(name)
            status = {name: await node.ready(name) for name in ("stays", "goes", "crashed")}
            uids = {name: (await node.pod(name))["metadata"]["uid"] for name in status}
            before = first_process(node, uids["stays"])
            node.kill_kubelet()
            await node.client.delete(POD, "goes", "default")
            os.kill(first_process(node, uids["crashed"]), signal.SIGKILL)
            await node.add("new")
            await node.start_kubelet()
            await node.deleted("goes")
            await node.ready("new")
            after = await node.until("crashed", lambda s: is_ready(s) and restarts(s) == 1)
            assert after["podIP"] != status["crashed"]["podIP"]
            assert first_process(node, uids["stays"]) == before
            now = await node.status("stays")
            assert now["containerStatuses"][0]["containerID"] == status["stays"]["containerStatuses"][0]["containerID"]
            assert (await node.run("new", "curl", "-s", f"http://{now['podIP']}:8080/hostname"))["stdout"] == "stays\n"
            node.kill_kubelet()
            await node.client.delete(POD, "new", "default", grace_seconds=0)
            await node.start_kubelet()
            await eventually(lambda: not (node.node_dir / "pods" / uids["goes"]).exists())
            await eventually(lambda: len(netns.names("gh-e-dead-pod-")) == 2, what="the force-deleted pod's remains go")

    asyncio.run(scenario())
