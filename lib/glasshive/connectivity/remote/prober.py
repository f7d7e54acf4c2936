"""Sends connectivity probes, all side by side, and prints what came back: a JSON list in, a JSON list out.

Each probe has a kind (see ``KINDS``), an address and a token that only its true answer can have. What an answer is
worth is not judged here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time

TYPE_CHECKING = False  # importing ``typing`` would cost more than the rest of the program
if TYPE_CHECKING:
    from typing import Any

CONNECT_SECONDS = 4.0
DATAGRAM_SECONDS = 1.5
ATTEMPTS = 3
# Numbers of Linux that Python's socket module has no names for.
IP_MTU_DISCOVER, IP_MTU, IP_PMTUDISC_DO = 10, 14, 2
IPV6_MTU_DISCOVER, IPV6_MTU = 23, 24


def family_of(address: str) -> int:
    """Return the socket family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def pattern(token: str, size: int) -> bytes:
    """Return ``size`` bytes that both sides can work out."""
    block = hashlib.sha256(token.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def tcp(probe: dict[str, Any]) -> dict[str, Any]:
    """One connection, with bulk data in both directions if asked for."""
    upload = pattern(probe["token"], probe.get("upload_bytes", 0))
    down = probe.get("download_bytes", 0)
    with socket.create_connection((probe["address"], probe["port"]), CONNECT_SECONDS) as sock:
        sock.settimeout(15)
        request = {"token": probe["token"], "upload_bytes": len(upload), "download_bytes": down}
        sock.sendall(json.dumps(request).encode() + b"\n")
        sock.sendall(upload)
        with sock.makefile("rb") as file:
            line = file.readline(65536)
            if not line:
                raise ConnectionError("closed without an answer")
            reply = json.loads(line)
            data = file.read(down)
    if data != pattern(probe["token"], down):
        raise ConnectionError(f"received {len(data)} of {down} bytes, or wrong ones")
    if reply.get("digest") != hashlib.sha256(upload).hexdigest():
        raise ConnectionError(f"the upload of {len(upload)} bytes arrived damaged")
    return {"reply": reply}


def udp(probe: dict[str, Any]) -> dict[str, Any]:
    """One datagram of ``size`` bytes, answered by one of ``answer_bytes``; tried again if it is lost."""
    request = json.dumps({"token": probe["token"], "answer_bytes": probe.get("answer_bytes", 0)}).encode()
    data = request.ljust(probe.get("size", 0))
    for attempt in range(1, ATTEMPTS + 1):
        with socket.socket(family_of(probe["address"]), socket.SOCK_DGRAM) as sock:
            sock.settimeout(DATAGRAM_SECONDS)
            sock.connect((probe["address"], probe["port"]))
            sock.send(data)
            try:
                answer = sock.recv(65535)
            except TimeoutError:
                continue
            reply = json.loads(answer)
            if reply.get("size") != len(data) or len(answer) < probe.get("answer_bytes", 0):
                raise ConnectionError(f"sent {len(data)} bytes, {reply.get('size')} arrived, {len(answer)} came back")
            return {"reply": reply, "attempts": attempt}
    raise TimeoutError(f"no answer to {ATTEMPTS} datagrams of {len(data)} bytes")


def ping(probe: dict[str, Any]) -> dict[str, Any]:
    """ICMP echo with the token as content; with ``whole`` it must not be fragmented."""
    address = probe["address"]
    command = ["ping", "-6" if ":" in address else "-4", "-n", "-c", "1", "-W", "2", "-s", str(probe.get("size", 56))]
    command += ["-p", probe["token"][:32]] + (["-M", "do"] if probe.get("whole") else []) + [address]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        except FileNotFoundError:
            raise ConnectionError("there is no ping in this image") from None
        text = done.stdout + done.stderr
        if re.search(r"wrong data byte|wrong total length|truncated", text):
            raise ConnectionError("the echo came back changed: " + text.strip().splitlines()[0])
        if done.returncode == 0:
            return {"attempts": attempt}
        if "too long" in text:
            raise OSError(errno.EMSGSIZE, "message too long")
    raise TimeoutError(f"no echo of {probe.get('size', 56)} bytes, {ATTEMPTS} tries")


def refused(probe: dict[str, Any]) -> dict[str, Any]:
    """A connection to a port where nobody listens: the answer must be a refusal, at once."""
    try:
        with socket.create_connection((probe["address"], probe["port"]), CONNECT_SECONDS):
            raise ConnectionError("somebody accepted")
    except ConnectionRefusedError:
        return {}


def silent(probe: dict[str, Any]) -> dict[str, Any]:
    """Nobody has this address: nothing may answer."""
    try:
        with socket.create_connection((probe["address"], probe["port"]), 1.0):
            raise ConnectionError("somebody accepted")
    except ConnectionRefusedError:
        raise ConnectionError("somebody refused: the address is in use") from None
    except (TimeoutError, OSError) as error:
        if isinstance(error, ConnectionError):
            raise
    command = ["ping", "-6" if ":" in probe["address"] else "-4", "-n", "-c", "1", "-W", "1", probe["address"]]
    if subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0:
        raise ConnectionError("somebody answers pings")
    return {}


def path_mtu(probe: dict[str, Any]) -> dict[str, Any]:
    """Have the other side answer as a router with a narrow link would; return the path MTU learnt from that."""
    address = probe["address"]
    six = ":" in address
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    request = {"token": probe["token"], "too_big": probe["mtu"], "address": address}
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as sock:
        sock.setsockopt(level, IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        sock.connect((address, probe["port"]))
        before = known = sock.getsockopt(level, IPV6_MTU if six else IP_MTU)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                sock.send(json.dumps(request).encode().ljust(probe["mtu"] + 50))
            except OSError as error:
                if error.errno != errno.EMSGSIZE:  # the news of the narrow link shows at the next call
                    raise
            deadline = time.monotonic() + DATAGRAM_SECONDS
            while time.monotonic() < deadline:
                known = sock.getsockopt(level, IPV6_MTU if six else IP_MTU)
                if known != before:
                    return {"before": before, "mtu": known, "attempts": attempt}
                time.sleep(0.01)
    raise TimeoutError(f"the path MTU is still {known}: no ICMP message arrived, {ATTEMPTS} tries")


def dns(probe: dict[str, Any]) -> dict[str, Any]:
    """One question to one name server over UDP (RFC 1035); the answer's code and addresses."""
    kind = {"A": 1, "AAAA": 28}[probe["record"]]
    number = int(probe["token"][:4], 16)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in probe["name"].rstrip(".").split("."))
    question = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)
    for attempt in range(1, ATTEMPTS + 1):
        with socket.socket(family_of(probe["address"]), socket.SOCK_DGRAM) as sock:
            sock.settimeout(DATAGRAM_SECONDS)
            sock.connect((probe["address"], 53))
            sock.send(question)
            try:
                answer = sock.recv(4096)
            except TimeoutError:
                continue
        if len(answer) < 12 or answer[:2] != question[:2]:
            raise ConnectionError("an answer to another question")
        _, flags, _, count, _, _ = struct.unpack("!6H", answer[:12])
        return {"code": flags & 15, "addresses": records(answer, len(question), count, kind), "attempts": attempt}
    raise TimeoutError(f"no answer from {probe['address']}, {ATTEMPTS} tries")


def records(answer: bytes, at: int, count: int, kind: int) -> list[str]:
    """Return the addresses of ``count`` resource records that begin at byte ``at``."""
    found = []
    for _ in range(count):
        while answer[at] and answer[at] < 0xC0:
            at += answer[at] + 1
        at += 2 if answer[at] >= 0xC0 else 1
        found_kind, _, _, size = struct.unpack("!HHIH", answer[at : at + 10])
        data = answer[at + 10 : at + 10 + size]
        at += 10 + size
        if found_kind == kind:
            found.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data))
    return found


def resolve(probe: dict[str, Any]) -> dict[str, Any]:
    """A name as programs look it up: by /etc/resolv.conf with its search path."""
    family = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}[probe["record"]]
    try:
        found = socket.getaddrinfo(probe["name"], None, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ConnectionError(error.strerror) from None
    return {"addresses": sorted({entry[4][0] for entry in found})}


KINDS = {
    "tcp": tcp,
    "udp": udp,
    "ping": ping,
    "refused": refused,
    "silent": silent,
    "path_mtu": path_mtu,
    "dns": dns,
    "resolve": resolve,
}


def run(probe: dict[str, Any], results: list[dict[str, Any]], at: int) -> None:
    """Put the outcome of one probe in its place."""
    started = time.monotonic()
    result: dict[str, Any] = {"error": "", "too_long": False}
    try:
        result.update(KINDS[probe["kind"]](probe))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        result["error"] = str(error) or type(error).__name__
        result["too_long"] = getattr(error, "errno", None) == errno.EMSGSIZE
    result["ms"] = round((time.monotonic() - started) * 1000, 1)
    results[at] = result


def main() -> None:
    """Read, probe, print."""
    probes = json.load(sys.stdin)
    results: list[dict[str, Any]] = [{"error": "the probe did not end", "too_long": False, "ms": 0} for _ in probes]
    threads = [threading.Thread(target=run, args=(p, results, at), daemon=True) for at, p in enumerate(probes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
