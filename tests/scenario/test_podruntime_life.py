"""Pods as real processes: they come up, answer, crash, are restarted, end and go, and leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from control_plane import eventually
from glasshive.api.resources import EVENT, NODE, POD
from glasshive.cluster.embedded.pods.spec import STATUS_FILE
from glasshive.inventory import Inventory, Kind
from glasshive.net import netns
from kubelet_node import KubeletNode, kubelet_node

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


async def told(node: KubeletNode, pod: str, *reasons: str) -> None:
    """Wait for these events of the pod."""

    async def all_there() -> bool:
        listed = await node.client.list(EVENT, "default")
        return set(reasons) <= {e["reason"] for e in listed.items if e["involvedObject"]["name"] == pod}

    await eventually(all_there, what=f"{reasons} of {pod}")


def test_node_registers_and_pods_answer() -> None:
    async def scenario() -> None:
        async with kubelet_node("e-life") as node:
            found = await node.client.get(NODE, "node1")
            assert found["metadata"]["annotations"]["glasshive.io/node-socket"].endswith("node1/node.sock")
            began = time.monotonic()
            for number in range(10):
                await node.add(f"echo-{number}")
            for number in range(10):
                await node.ready(f"echo-{number}")
            print(f"ten pods ready after {time.monotonic() - began:.2f} s")
            status = await node.status("echo-3")
            assert status["phase"] == "Running"
            assert status["podIPs"][0]["ip"] == status["podIP"]
            answer = await node.run("echo-1", "curl", "-s", f"http://{status['podIPs'][0]['ip']}:8080/hello")
            account = json.loads(answer["stdout"])
            assert (account["pod"], account["node"], account["namespace"]) == ("echo-3", "node1", "default")
            assert account["source"] == (await node.status("echo-1"))["podIP"]
            six = await node.run("echo-1", "curl", "-s", f"http://[{status['podIPs'][1]['ip']}]:8080/hostname")
            assert six["stdout"] == "echo-3\n"
            await isolation(node)
            await logs_and_commands(node)
            await node.client.delete(POD, "echo-3", "default")
            await node.deleted("echo-3")
            assert len(netns.names("gh-e-life-pod-")) == 9
            await eventually(
                lambda: len([e for e in Inventory(node.paths.inventory_file).entries() if e.kind == Kind.NETNS]) == 9
            )
            await eventually(lambda: len(list((node.node_dir / "pods").iterdir())) == 9)
            await told(node, "echo-1", "Pulled", "Created", "Started")

    asyncio.run(scenario())


async def isolation(node: KubeletNode) -> None:
    """Own processes, host name, files and devices; nothing of the cluster's own state."""
    script = "hostname; echo pids $(ls -d /proc/[0-9]* | wc -l); ls /run; cat /etc/hosts /etc/resolv.conf; id -u"
    seen = (await node.run("echo-1", "sh", "-c", script))["stdout"]
    assert seen.startswith("echo-1\n")
    pids = int(seen.split("pids ")[1].split()[0])
    assert pids <= 6, "a pod sees its own processes only"
    assert "glasshive" not in seen
    assert f"{(await node.status('echo-1'))['podIP']}\techo-1" in seen
    assert (
        "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5"
        in seen
    )
    forbidden = await node.run(
        "echo-1", "sh", "-c", "mount -t tmpfs x /mnt; ip link add d type dummy; echo b > /proc/sysrq-trigger"
    )
    assert forbidden["returncode"] != 0
    assert (await node.run("echo-1", "ping", "-c1", "-W1", "127.0.0.1"))["returncode"] == 0


async def logs_and_commands(node: KubeletNode) -> None:
    code, text = await node.ask("GET", "/containerLogs/default/echo-1/main")
    assert (code, text) == (200, "listening: http 8080, tcp 9000, udp 9000\n")
    code, text = await node.ask("GET", "/containerLogs/default/echo-1/main?timestamps=true&tailLines=1")
    assert text.split(" ")[0].endswith("Z")
    code, text = await node.ask("GET", "/containerLogs/default/echo-1/nope")
    assert code == 400
    assert (await node.run("echo-1", "cat", stdin="héllo" * 50000))["stdout"] == "héllo" * 50000
    missing = await node.run("echo-1", "no-such-program")
    assert missing["returncode"] == 127
    assert "No such file" in missing["stderr"]
    late = await node.run("echo-1", "sleep", "20", timeout=0.3)
    assert "timed out" in late["stderr"]


def test_restart_policies_and_back_off() -> None:
    async def scenario() -> None:
        async with kubelet_node("e-policy") as node:
            crash = {"command": ["sh", "-c", "echo oops; exit 3"]}
            await node.add("crash", "busybox", container=crash)
            await node.add("fails", "busybox", container=crash, restartPolicy="Never")
            greet = {"command": ["sh", "-c", "echo $WHO"], "env": [{"name": "WHO", "value": "me"}]}
            await node.add("works", "busybox", container=greet, restartPolicy="OnFailure")
            await node.add("absent", "busybox", container={"command": ["/no/such/thing"]}, restartPolicy="Never")

            def in_loop(status: dict[str, Any]) -> bool:
                state = status["containerStatuses"][0]["state"] if "containerStatuses" in status else {}
                return state.get("waiting", {}).get("reason") == "CrashLoopBackOff"

            status = await node.until("crash", in_loop)
            assert status["phase"] == "Running"
            assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3
            assert status["containerStatuses"][0]["restartCount"] >= 2
            status = await node.until("fails", lambda s: s.get("phase") == "Failed")
            assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
            status = await node.until("works", lambda s: s.get("phase") == "Succeeded")
            assert (await node.ask("GET", "/containerLogs/default/works/main"))[1] == "me\n"
            status = await node.until("absent", lambda s: s.get("phase") == "Failed")
            assert status["containerStatuses"][0]["state"]["terminated"]["reason"] == "StartError"
            assert "/no/such/thing" in status["containerStatuses"][0]["state"]["terminated"]["message"]
            await eventually(
                lambda: len(netns.names("gh-e-policy-pod-")) == 1, what="ended pods give their namespace back"
            )
            _, text = await node.ask("GET", "/containerLogs/default/crash/main?previous=true")
            assert text == "oops\n"
            await told(node, "crash", "BackOff")

    asyncio.run(scenario())


def test_what_ended_while_no_kubelet_was_there_is_reported_and_not_run_again() -> None:
    async def scenario() -> None:
        async with kubelet_node("e-unseen") as node:
            wait = {"command": ["sh", "-c", "echo once; until [ -e /tmp/go ]; do sleep 0.05; done; exit 4"]}
            await node.add("ends", "busybox", container=wait, restartPolicy="Never")
            await node.until("ends", lambda s: s.get("phase") == "Running")
            uid = (await node.pod("ends"))["metadata"]["uid"]
            account = node.node_dir / "pods" / uid / STATUS_FILE
            await node.run("ends", "sh", "-c", "(sleep 1; touch /tmp/go) >/dev/null 2>&1 &")
            node.kill_kubelet()
            assert (await node.status("ends"))["phase"] == "Running"
            await eventually(lambda: json.loads(account.read_text())["over"], what="it ends unseen")
            await node.start_kubelet()
            status = await node.until("ends", lambda s: s.get("phase") != "Running")
            assert status["phase"] == "Failed"
            assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
            assert status["containerStatuses"][0]["restartCount"] == 0
            assert (await node.ask("GET", "/containerLogs/default/ends/main"))[1] == "once\n"

    asyncio.run(scenario())


def test_bad_pods_say_why_and_leave_nothing() -> None:
    async def scenario() -> None:
        async with kubelet_node("e-bad") as node:
            await node.add("image", "example.org/unknown:1")
            await node.add("refused-pod")
            await node.add("config", container={"envFrom": [{"configMapRef": {"name": "settings"}}]})

            def waiting(status: dict[str, Any]) -> dict[str, str]:
                return (status.get("containerStatuses") or [{"state": {}}])[0]["state"].get("waiting") or {}

            status = await node.until("image", lambda s: waiting(s).get("reason") == "ImagePullBackOff")
            assert status["phase"] == "Pending"
            assert "glasshive/echo" in waiting(status)["message"]
            status = await node.until("refused-pod", lambda s: "no address left" in waiting(s).get("message", ""))
            status = await node.until("config", lambda s: "settings" in waiting(s).get("message", ""))
            assert waiting(status)["reason"] == "CreateContainerConfigError"
            await eventually(lambda: not netns.names("gh-e-bad-pod-"))
            await told(node, "refused-pod", "FailedCreatePodSandBox")
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "settings"},
                "data": {"COLOUR": "amber"},
            }
            from glasshive.api.resources import CONFIG_MAP

            await node.client.create(CONFIG_MAP, body)
            await node.ready("config", 15)
            assert (await node.run("config", "printenv", "COLOUR"))["stdout"] == "amber\n"
            for name in ("image", "refused-pod", "config"):
                await node.client.delete(POD, name, "default")
                await node.deleted(name)
            await eventually(lambda: not list((node.node_dir / "pods").iterdir()))
            assert not [e for e in Inventory(node.paths.inventory_file).entries() if e.kind == Kind.NETNS]

    asyncio.run(scenario())
