"""Real sockets on loopback: our server, our upstream client, and the two of them chained."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time

import dns.asyncquery
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from glasshive.dns import Resolver, Server, Upstream, cluster_zone, world_zone
from glasshive.dns.upstream import UpstreamError

A, TXT = dns.rdatatype.A, dns.rdatatype.TXT
NAME = dns.name.from_text("example.com")
WORLD = {"example.com": ["203.0.113.10", "2001:db8::10"], "big.test": [f"203.0.113.{n}" for n in range(250)]}


def run(work):
    return asyncio.run(asyncio.wait_for(work, 20))


async def started(zone, upstream=None):
    server = Server(Resolver(zone, upstream), ["127.0.0.1"], 0)
    await server.start()
    return server


def many():
    zone = cluster_zone("cluster.local", ["10.96.0.10"], [])
    zone.put("x", {"many.ns.svc.cluster.local": {"A": tuple(f"10.244.{n // 250}.{n % 250}" for n in range(500))}})
    return zone


def test_udp_then_tcp():
    async def main():
        server = await started(many())
        query = dns.message.make_query("many.ns.svc.cluster.local", "A")
        short = await dns.asyncquery.udp(query, "127.0.0.1", port=server.port, timeout=30)
        assert short.flags & dns.flags.TC
        whole, over_tcp = await dns.asyncquery.udp_with_fallback(query, "127.0.0.1", port=server.port, timeout=30)
        assert over_tcp
        assert len(whole.answer[0]) == 500
        await server.stop()

    run(main())


def test_tcp_answers_several_questions_of_one_connection():
    async def main():
        server = await started(many())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        queries = [dns.message.make_query(f"{n}.ns.svc.cluster.local", "A") for n in ("many", "none", "many")]
        writer.write(b"".join(query.to_wire(prepend_length=True) for query in queries))
        for query in queries:
            size = int.from_bytes(await reader.readexactly(2), "big")
            assert query.is_response(dns.message.from_wire(await reader.readexactly(size)))
        writer.write(b"\0\3abc")  # no message: the connection ends, the service does not
        assert await reader.read() == b""
        writer.close()
        await server.stop()

    run(main())


def test_dig_agrees():
    async def main():
        server = await started(many())
        command = ["dig", "@127.0.0.1", "-p", str(server.port), "many.ns.svc.cluster.local", "A", "+short"]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        await server.stop()
        return out.decode().split()

    assert len(run(main())) == 500


def test_address_that_is_not_there_yet_can_be_bound():
    """203.0.113.77 is documentation space: nobody here has it."""

    async def main():
        server = Server(Resolver(many()), ["203.0.113.77", "2001:db8::77"], 0)
        await server.start()
        await server.stop()

    run(main())


def test_two_servers_may_overlap():
    async def main():
        first = await started(many())
        second = Server(first.resolver, ["127.0.0.1"], first.port)
        await second.start()
        await first.stop()
        query = dns.message.make_query("many.ns.svc.cluster.local", "A")
        await dns.asyncquery.udp(query, "127.0.0.1", port=second.port, timeout=30)
        await second.stop()

    run(main())


def test_chain_and_cache():
    async def main():
        world = await started(world_zone(WORLD))
        upstream = Upstream([("127.0.0.1", world.port)])
        node = await started(many(), upstream)
        query = dns.message.make_query("Example.com", "AAAA")
        answer = await dns.asyncquery.udp(query, "127.0.0.1", port=node.port, timeout=30)
        assert str(answer.answer[0][0]) == "2001:db8::10"
        nothing = dns.message.make_query("no.such.test", "A")
        assert (
            await dns.asyncquery.udp(nothing, "127.0.0.1", port=node.port, timeout=30)
        ).rcode() == dns.rcode.NXDOMAIN
        await world.stop()
        for question, rcode in ((query, dns.rcode.NOERROR), (nothing, dns.rcode.NXDOMAIN)):  # from the cache
            again = await dns.asyncquery.udp(question, "127.0.0.1", port=node.port, timeout=30)
            assert again.rcode() == rcode
        other = dns.message.make_query("other.test", "A")
        answer = await dns.asyncquery.udp(other, "127.0.0.1", port=node.port, timeout=30)
        assert answer.rcode() == dns.rcode.SERVFAIL
        await node.stop()

    run(main())


def test_upstream_takes_the_whole_answer_over_tcp():
    async def main():
        world = await started(world_zone(WORLD))
        told = await Upstream([("127.0.0.1", world.port)]).resolve(dns.name.from_text("big.test"), A)
        await world.stop()
        return told

    assert len(run(main()).answer[0]) == 250


def test_ttl_counts_down_and_ends():
    async def main():
        now = 100.0
        world = await started(world_zone(WORLD))
        upstream = Upstream([("127.0.0.1", world.port)], clock=lambda: now, timeout=0.2, rounds=1)
        assert (await upstream.resolve(NAME, A)).answer[0].ttl == 5
        await world.stop()
        now = 103.5
        assert (await upstream.resolve(NAME, A)).answer[0].ttl == 2
        now = 105.0
        with pytest.raises(UpstreamError):
            await upstream.resolve(NAME, A)

    run(main())


class Forger(asyncio.DatagramProtocol):
    """Answers with everything but the truth first; the right answer comes last, if at all."""

    def __init__(self, *, honest):
        self.honest, self.asked, self.ports, self.ids = honest, 0, set(), set()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, client):
        self.asked += 1
        self.ports.add(client[1])
        self.ids.add(data[:2])
        query = dns.message.from_wire(data)
        bad = dns.message.make_response(query)
        bad.answer.append(dns.rrset.from_text("example.com.", 60, "IN", "A", "192.0.2.66"))
        bad.id = query.id ^ 1
        self.transport.sendto(bad.to_wire(), client)
        bad.id = query.id
        bad.question = dns.message.make_query("other.test", "A").question
        self.transport.sendto(bad.to_wire(), client)
        self.transport.sendto(b"noise", client)
        if self.honest:
            good = dns.message.make_response(query)
            good.answer.append(dns.rrset.from_text(str(query.question[0].name), 60, "IN", "A", "203.0.113.10"))
            self.transport.sendto(good.to_wire(), client)


async def forger(*, honest):
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Forger(honest=honest), local_addr=("127.0.0.1", 0)
    )
    return transport, protocol, transport.get_extra_info("sockname")[:2]


def test_forged_answers_are_not_listened_to():
    async def main():
        transport, protocol, address = await forger(honest=True)
        upstream = Upstream([address])
        told = await upstream.resolve(NAME, A)
        assert str(told.answer[0][0]) == "203.0.113.10"
        for number in range(20):
            await upstream.resolve(dns.name.from_text(f"n{number}.test"), A)
        assert len(protocol.ports) > 15
        assert len(protocol.ids) > 15
        transport.close()

    run(main())


def test_silence_ends_in_time():
    async def main():
        transport, protocol, address = await forger(honest=False)
        upstream = Upstream([address], timeout=0.1, rounds=2)
        began = time.monotonic()
        with pytest.raises(UpstreamError, match="did not answer within"):
            await upstream.resolve(NAME, A)
        assert time.monotonic() - began < 1
        assert protocol.asked == 2
        transport.close()

    run(main())


def test_same_questions_at_the_same_time_are_one():
    async def main():
        transport, protocol, address = await forger(honest=True)
        upstream = Upstream([address])
        await asyncio.gather(*(upstream.resolve(NAME, A) for _ in range(50)))
        assert protocol.asked == 1
        transport.close()

    run(main())


def test_next_server_when_nobody_listens():
    async def main():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()
        transport, _, address = await forger(honest=True)
        began = time.monotonic()
        told = await Upstream([nobody, address]).resolve(NAME, A)
        assert told.rcode == dns.rcode.NOERROR
        assert time.monotonic() - began < 0.5
        transport.close()

    run(main())
