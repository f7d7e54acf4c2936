"""Answers connectivity probes over TCP and UDP, and proves with a secret that it is the one who was meant.

``responder SETTINGS`` with a JSON object: secret, name, port, lifetime_seconds, addresses (empty: all), ready_file.
A TCP request is a JSON line (token, upload_bytes, download_bytes) and the upload; the answer a JSON line and the
download. A UDP request is JSON padded with spaces; the answer is padded to ``answer_bytes``. With ``too_big`` the
answer is the ICMP message of a router whose next link carries only so many bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import struct
import sys
import threading

TYPE_CHECKING = False  # importing ``typing`` would cost more than the rest of the program
if TYPE_CHECKING:
    from typing import Any


def proof(secret: str, token: str) -> str:
    """Return what only the holder of ``secret`` can answer to ``token``."""
    return hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()


def pattern(token: str, size: int) -> bytes:
    """Return ``size`` bytes that both sides can work out."""
    block = hashlib.sha256(token.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Responder:
    """Listens at all its addresses, a thread for each socket and each connection."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    def answer(self, token: str, peer: tuple[Any, ...], **more: Any) -> dict[str, Any]:
        """Return who we are, and whom we see."""
        proved = proof(self.settings["secret"], token)
        source = peer[0].partition("%")[0]
        return {"proof": proved, "name": self.settings["name"], "source": source, "port": peer[1], **more}

    def run(self) -> None:
        """Serve until the lifetime ends."""
        addresses = self.settings["addresses"] or ["0.0.0.0", "::"]  # noqa: S104 - in a namespace of its own
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            for kind, work in ((socket.SOCK_STREAM, self.accept), (socket.SOCK_DGRAM, self.datagrams)):
                sock = self.bind(family, kind, address)
                if sock is not None:
                    threading.Thread(target=work, args=(sock,), daemon=True).start()
        if self.settings.get("ready_file"):
            os.close(os.open(self.settings["ready_file"], os.O_CREAT | os.O_WRONLY, 0o644))
        print("ready", flush=True)
        # Nobody may forget to end this: it ends with its lifetime.
        threading.Event().wait(self.settings["lifetime_seconds"])

    def bind(self, family: int, kind: int, address: str) -> socket.socket | None:
        """Return a bound socket, None where the kernel does not have the family."""
        try:
            sock = socket.socket(family, kind)
        except OSError:
            return None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, self.settings["port"]))
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
        return sock

    def accept(self, listener: socket.socket) -> None:
        """Serve connections for ever."""
        while True:
            sock, peer = listener.accept()
            threading.Thread(target=self.stream, args=(sock, peer), daemon=True).start()

    def stream(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        """Serve one connection."""
        try:
            with sock, sock.makefile("rwb") as file:
                sock.settimeout(20)
                request = json.loads(file.readline(4096))
                if request.get("stop") == self.settings["secret"]:
                    os._exit(0)
                upload = file.read(request.get("upload_bytes", 0))
                digest = hashlib.sha256(upload).hexdigest()
                answer = self.answer(request["token"], peer, digest=digest)
                file.write(
                    json.dumps(answer).encode() + b"\n" + pattern(request["token"], request.get("download_bytes", 0))
                )
                file.flush()
        except (OSError, ValueError, KeyError):
            return  # a stranger, or a probe that gave up

    def datagrams(self, sock: socket.socket) -> None:
        """Serve datagrams for ever."""
        while True:
            data, peer = sock.recvfrom(65535)
            try:
                request = json.loads(data)
                token = request["token"]
            except (ValueError, KeyError, TypeError):
                continue
            try:
                if request.get("too_big"):
                    self.too_big(sock, peer, request, len(data))
                else:
                    answer = json.dumps(self.answer(token, peer, size=len(data))).encode()
                    sock.sendto(answer.ljust(request.get("answer_bytes", 0)), peer)
            except OSError as error:
                print(f"answer to {peer[0]}: {error}", file=sys.stderr, flush=True)

    def too_big(self, sock: socket.socket, peer: tuple[Any, ...], request: dict[str, Any], size: int) -> None:
        """Say that the datagram just received would not fit through a link further on."""
        target, port, mtu = peer[0].partition("%")[0], self.settings["port"], request["too_big"]
        udp = struct.pack("!HHHH", peer[1], port, size + 8, 0)
        if sock.family == socket.AF_INET6:
            quoted = struct.pack("!IHBB", 6 << 28, size + 8, socket.IPPROTO_UDP, 64)
            quoted += socket.inet_pton(socket.AF_INET6, target) + socket.inet_pton(socket.AF_INET6, request["address"])
            message = struct.pack("!BBHI", 2, 0, 0, mtu) + quoted + udp  # the kernel adds the checksum
            raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.getprotobyname("ipv6-icmp"))
        else:
            ends = socket.inet_aton(target) + socket.inet_aton(request["address"])
            header = struct.pack("!BBHHHBBH", 0x45, 0, size + 28, 1, 0x4000, 64, socket.IPPROTO_UDP, 0) + ends
            quoted = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
            body = struct.pack("!HH", 0, mtu) + quoted + udp
            message = struct.pack("!BBH", 3, 4, checksum(struct.pack("!BBH", 3, 4, 0) + body)) + body
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        with raw:
            raw.bind((request["address"], 0))
            raw.sendto(message, (target, 0))


if __name__ == "__main__":
    Responder(json.loads(sys.argv[1])).run()
