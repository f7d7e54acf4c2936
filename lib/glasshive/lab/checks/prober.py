"""Sends a check's probes from inside a pod, side by side: a JSON list in, a JSON list out. Standard library only.

Its source is handed to ``python3 -c`` in the pod; nothing is imported from here at run time. Each probe carries a
canary that nobody else sends. What came back is told, not judged.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

TYPE_CHECKING = False  # importing ``typing`` would cost more than the rest of the program
if TYPE_CHECKING:
    from typing import Any


def family(address: str) -> int:
    """Socket family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def http(probe: dict[str, Any]) -> str:
    """A request with the canary in its path; the first line of the answer."""
    with socket.create_connection((probe["address"], probe["port"]), probe["wait_s"]) as sock:
        request = f"GET /{probe['canary']} HTTP/1.1\r\nHost: {probe['host']}\r\nConnection: close\r\n\r\n"
        sock.sendall(request.encode())
        with sock.makefile("rb") as answer:
            line = answer.readline(4096).decode(errors="replace").strip()
    if not line.startswith("HTTP/"):
        raise ConnectionError("the answer is not HTTP")
    return line


def tcp(probe: dict[str, Any]) -> str:
    """A connection over which the canary is sent; whatever comes back, or that it was taken."""
    with socket.create_connection((probe["address"], probe["port"]), probe["wait_s"]) as sock:
        sock.sendall(probe["canary"].encode() + b"\n")
        try:
            return "echoed" if probe["canary"].encode() in sock.recv(4096) else "connected"
        except TimeoutError:
            return "connected"


def udp(probe: dict[str, Any]) -> str:
    """A datagram with the canary; an answer must hold it."""
    with socket.socket(family(probe["address"]), socket.SOCK_DGRAM) as sock:
        sock.settimeout(probe["wait_s"])
        sock.connect((probe["address"], probe["port"]))
        sock.send(probe["canary"].encode())
        if probe["canary"].encode() not in sock.recv(4096):
            raise ConnectionError("the answer does not hold what was sent")
    return "echoed"


def ping(probe: dict[str, Any]) -> str:
    """One echo request whose content is the canary (16 bytes, repeated); ``size`` bytes, whole if that is asked for."""
    version = "-6" if ":" in probe["address"] else "-4"
    command = ["ping", version, "-n", "-c", "1", "-W", str(probe["wait_s"]), "-s", str(probe["size"])]
    command += ["-p", probe["canary"]] + (["-M", "do"] if probe["whole"] else []) + [probe["address"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=probe["wait_s"] + 5, check=False)
    if done.returncode:
        told = done.stdout + done.stderr
        if "too long" in told:
            raise OSError("the packet is larger than the path's MTU")
        raise TimeoutError("no echo")
    return "echo"


def dns(probe: dict[str, Any]) -> str:
    """Ask for a name's addresses, as any program of the pod would."""
    found = socket.getaddrinfo(probe["host"], None, family(probe["address"] or "::") if probe["address"] else 0)
    return " ".join(sorted({str(one[4][0]) for one in found}))


KINDS = {"http": http, "tcp": tcp, "udp": udp, "ping": ping, "dns": dns}


def run(probe: dict[str, Any], answers: list[dict[str, Any]], at: int) -> None:
    """One probe: ``{"answer": ...}`` or ``{"error": ..., "refused": bool}``."""
    try:
        answers[at] = {"answer": KINDS[probe["protocol"]](probe)}
    except ConnectionRefusedError:
        answers[at] = {"error": "refused", "refused": True}
    except TimeoutError:
        answers[at] = {"error": "no answer"}
    except (OSError, ValueError) as failure:
        answers[at] = {"error": str(failure) or type(failure).__name__}


def main() -> None:
    """Run all, print all."""
    probes = json.load(sys.stdin)
    answers: list[dict[str, Any]] = [{"error": "no answer"} for _ in probes]
    threads = [threading.Thread(target=run, args=(probe, answers, at), daemon=True) for at, probe in enumerate(probes)]
    for one in threads:
        one.start()
    deadline = time.monotonic() + max(probe["wait_s"] for probe in probes) + 1.0
    for one in threads:
        one.join(max(0.0, deadline - time.monotonic()))
    print(json.dumps(answers), flush=True)
    os._exit(0)  # a resolver that nobody answers keeps its thread for half a minute


if __name__ == "__main__":
    main()
