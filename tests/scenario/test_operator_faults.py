"""What the controllers survive: an API server that is killed under load, and their own end half-way."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

from control_plane import PaperKubelet, ServerProcess, eventually
from glasshive.api.resources import DEPLOYMENT, JOB, NODE, POD, REPLICA_SET
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.objects import Object
from glasshive.operator import Operator


def deployment(name: str, replicas: int) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "echo"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return DEPLOYMENT.object(name, spec=spec)


async def all_rolled_out(client: Client) -> bool:
    try:
        found = (await client.list(DEPLOYMENT)).items
        pods = (await client.list(POD)).items
    except ApiError:
        return False
    fields = ("updatedReplicas", "replicas", "availableReplicas")
    wanted = sum(d["spec"]["replicas"] for d in found)
    return len(pods) == wanted and all(
        (d.get("status") or {}).get(f, 0) == d["spec"]["replicas"] for d in found for f in fields
    )


async def persist(client: Client, body: Object) -> None:
    """Create ``body`` whatever happens to the server meanwhile, as a patient user would."""
    while True:
        try:
            await client.create(DEPLOYMENT, body)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return
            await asyncio.sleep(0.05)
        else:
            return


def test_the_api_server_killed_under_load(tmp_path: Path) -> None:
    """Three times, at any moment: in the end there is exactly what was asked for, and no pod twice."""

    async def run() -> None:
        server = ServerProcess(tmp_path)
        await server.start()
        client, second, third = (Client(socket=tmp_path / "api.sock") for _ in range(3))
        operator, kubelet = Operator(client), PaperKubelet(second)
        task = asyncio.create_task(operator.run())
        try:
            await kubelet.start()
            for number in range(3):
                await kubelet.add_node(f"node{number + 1}")
            await asyncio.wait_for(operator.ready.wait(), 20)
            rng = random.Random(7)
            for turn in range(3):
                load = asyncio.gather(*(persist(third, deployment(f"d{turn}-{i}", 8)) for i in range(4)))
                await asyncio.sleep(rng.uniform(0.005, 0.08))
                await server.kill()
                await asyncio.sleep(0.1)
                await server.start()
                await load
            await eventually(lambda: all_rolled_out(third), 30)
            pods = (await third.list(POD)).items
            assert len(pods) == 96
            by_node = [len([p for p in pods if p["spec"]["nodeName"] == f"node{n + 1}"]) for n in range(3)]
            assert sum(by_node) == 96
            assert len((await third.list(REPLICA_SET)).items) == 12
            cidrs = [n["spec"]["podCIDR"] for n in (await third.list(NODE)).items]
            assert len(set(cidrs)) == 3
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await kubelet.stop()
            for each in (client, second, third):
                await each.close()
            await server.kill()

    asyncio.run(run())


def test_the_operator_ended_half_way_and_a_new_one_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        from control_plane import served

        async with served(tmp_path) as client, Client(socket=tmp_path / "api.sock") as second:
            kubelet = PaperKubelet(second)
            await kubelet.start()
            for number in range(2):
                await kubelet.add_node(f"node{number + 1}")
            for i in range(5):
                await second.create(DEPLOYMENT, deployment(f"d{i}", 10))
            job = {"completions": 6, "parallelism": 2, "template": {"spec": {"restartPolicy": "Never"}}}
            annotations = {"test.glasshive.io/ends": "Succeeded"}
            job["template"] = {
                "metadata": {"annotations": annotations},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "echo"}]},
            }
            await second.create(JOB, JOB.object("j", spec=job))
            for seconds in (0.02, 0.03, 0.05, 0.08):
                task = asyncio.create_task(Operator(client).run())
                await asyncio.sleep(seconds)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            task = asyncio.create_task(Operator(client).run())

            async def done() -> bool:
                pods = [p for p in (await second.list(POD)).items if p["metadata"]["name"].startswith("d")]
                status = (await second.get(JOB, "j", "default")).get("status") or {}
                fields = [
                    (d.get("status") or {}).get("availableReplicas") for d in (await second.list(DEPLOYMENT)).items
                ]
                return len(pods) == 50 and fields == [10] * 5 and status.get("succeeded") == 6

            await eventually(done, 20)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await kubelet.stop()

    asyncio.run(run())
