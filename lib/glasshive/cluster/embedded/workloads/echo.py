"""Echo server: HTTP, TCP, UDP and, if asked for, gRPC, on IPv4 and IPv6, in one process with one event loop.

Every answer says who gave it and who asked: pod, node, namespace, source and server address. ``answers`` has what it
says.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from typing import cast

from glasshive.cluster.embedded.workloads.answers import PROFILES, Answerer
from glasshive.cluster.embedded.workloads.http1 import HttpProtocol

BACKLOG = 1024


class TcpEcho(asyncio.Protocol):
    """Sends back what it gets; says hello to nobody."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Echo."""
        self._transport.write(data)

    def pause_writing(self) -> None:
        """Read no more while the other side does not."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        self._transport.resume_reading()


class UdpEcho(asyncio.DatagramProtocol):
    """Sends each datagram back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.DatagramTransport, transport)  # what it is, though no subclass in Python 3.11

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Echo."""
        self._transport.sendto(data, addr)


def bound(port: int, kind: int) -> socket.socket:
    """A socket on all addresses of both families, or of IPv4 where the kernel has no IPv6."""
    family = socket.AF_INET6
    try:
        sock = socket.socket(family, kind)
    except OSError:
        family = socket.AF_INET
        sock = socket.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))  # noqa: S104 - a server in its own namespace
    sock.setblocking(False)
    return sock


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM; connections that are open then are dropped."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    answerer = Answerer(options.profile, options.text, dict(os.environ))
    for port in options.http:
        server = bound(port, socket.SOCK_STREAM)
        await loop.create_server(lambda: HttpProtocol(answerer.answer), sock=server, backlog=BACKLOG)
    for port in options.tcp:
        await loop.create_server(TcpEcho, sock=bound(port, socket.SOCK_STREAM), backlog=BACKLOG)
    for port in options.udp:
        await loop.create_datagram_endpoint(UdpEcho, sock=bound(port, socket.SOCK_DGRAM))
    if options.grpc:
        from glasshive.cluster.embedded.workloads import echo_grpc

        echo_grpc.start(options.grpc)
    listening = {"http": options.http, "tcp": options.tcp, "udp": options.udp, "grpc": options.grpc}
    print("listening:", ", ".join(f"{kind} {port}" for kind, ports in listening.items() for port in ports), flush=True)
    await stop.wait()


def main(args: list[str]) -> int:
    """Parse ``--http PORT --tcp PORT --udp PORT --grpc PORT`` (each may be repeated) and serve."""
    parser = argparse.ArgumentParser(prog="echo", description=__doc__)
    for kind in ("http", "tcp", "udp", "grpc"):
        parser.add_argument(f"--{kind}", type=int, action="append", default=[], metavar="PORT")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="echo", help="how HTTP requests are answered")
    parser.add_argument("--text", default="", help="answer every HTTP request with this")
    options, unknown = parser.parse_known_args(args)
    if unknown:
        print(f"echo: not understood: {' '.join(unknown)}", file=sys.stderr)
        return 2
    try:
        asyncio.run(serve(options))
    except OSError as error:
        print(f"echo: {error}", file=sys.stderr)
        return 1
    return 0
