"""A zone that follows a real API server: changes, pods on demand, and an API that goes away."""

from __future__ import annotations

import asyncio

import dns.message
import dns.rcode

from control_plane import eventually, served
from glasshive.api.resources import ENDPOINT_SLICE, POD, SERVICE
from glasshive.dns import Follower, Resolver, cluster_zone

DOMAIN = "cluster.local"
PORTS = [{"name": "http", "port": 80}]


async def lookup(resolver, name, type_="A"):
    answer = resolver.answer(dns.message.make_query(name, type_).to_wire(), udp=True)
    if not isinstance(answer, bytes):
        answer = await answer
    message = dns.message.from_wire(answer)
    return message.rcode(), sorted(str(one) for records in message.answer for one in records)


def slice_of(service, address, *, ready=True):
    return ENDPOINT_SLICE.object(
        f"{service}-1", "default",
        metadata={"labels": {"kubernetes.io/service-name": service}},
        addressType="IPv4", ports=PORTS,
        endpoints=[{"addresses": [address], "conditions": {"ready": ready}}],
    )  # fmt: skip


async def follow(folder):
    async with served(folder) as client:
        zone = cluster_zone(DOMAIN, ["10.96.0.10"], ["10.96.0.0/16", "10.244.0.0/16"])
        follower = Follower(client, zone, DOMAIN)
        resolver = Resolver(zone, None, follower.prepare)
        assert await lookup(resolver, "kubernetes.default.svc.cluster.local") == (dns.rcode.SERVFAIL, [])
        await follower.start()
        await follower.wait_synced()
        assert await lookup(resolver, "kubernetes.default.svc.cluster.local") == (dns.rcode.NOERROR, ["10.96.0.1"])

        async def says(name, rcode, *data):
            async def check():
                return await lookup(resolver, name) == (rcode, sorted(data))

            await eventually(check, what=f"{name} never gave {data}")

        await client.create(SERVICE, SERVICE.object("db", "default", spec={"clusterIP": "None", "ports": PORTS}))
        await client.create(ENDPOINT_SLICE, slice_of("db", "10.244.0.9"))
        await says("db.default.svc.cluster.local", dns.rcode.NOERROR, "10.244.0.9")
        endpoint = {"endpoints": [{"addresses": ["10.244.0.8"], "conditions": {"ready": True}}]}
        await client.patch(ENDPOINT_SLICE, "db-1", endpoint, "default", kind="merge")
        await says("db.default.svc.cluster.local", dns.rcode.NOERROR, "10.244.0.8")
        await client.delete(ENDPOINT_SLICE, "db-1", "default")
        await says("db.default.svc.cluster.local", dns.rcode.NXDOMAIN)

        spec = {"containers": [{"name": "main", "image": "none"}]}
        await client.create(POD, POD.object("web", "default", spec=spec))
        status = {"podIP": "10.244.0.7", "podIPs": [{"ip": "10.244.0.7"}], "phase": "Running"}
        await client.patch(POD, "web", {"status": status}, "default", subresource="status")
        assert not follower.pods.synced
        assert (await lookup(resolver, "10-244-0-7.default.pod.cluster.local"))[1] == ["10.244.0.7"]
        assert "spec" not in follower.pods.get("web", "default")
        await client.patch(POD, "web", {"status": {"phase": "Succeeded"}}, "default", subresource="status")
        await says("10-244-0-7.default.pod.cluster.local", dns.rcode.NXDOMAIN)
        kept = follower
    # The API is gone; what was known stays known.
    assert (await lookup(resolver, "kubernetes.default.svc.cluster.local"))[1] == ["10.96.0.1"]
    await kept.stop()


def test_follow(tmp_path):
    asyncio.run(asyncio.wait_for(follow(tmp_path), 60))


def test_first_pod_question_while_the_api_is_away(tmp_path):
    async def main():
        async with served(tmp_path) as client:
            zone = cluster_zone(DOMAIN, ["10.96.0.10"], [])
            follower = Follower(client, zone, DOMAIN)
            await follower.start()
            await follower.wait_synced()
        resolver = Resolver(zone, None, follower.prepare)
        assert (await lookup(resolver, "10-244-0-7.default.pod.cluster.local"))[0] == dns.rcode.SERVFAIL
        assert (await lookup(resolver, "kubernetes.default.svc.cluster.local"))[0] == dns.rcode.NOERROR
        await follower.stop()

    asyncio.run(asyncio.wait_for(main(), 60))
