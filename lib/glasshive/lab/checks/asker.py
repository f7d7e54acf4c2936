"""Asks an HTTP server many times from inside a pod, each time over a connection of its own: who answered, as JSON.

Its source is handed to ``python3 -c`` in the pod with ADDRESS PORT COUNT WAIT_S; nothing is imported from here at run
time, and only the standard library is used. Path ``/hostname`` of ``glasshive/echo`` tells the pod's name.
"""

from __future__ import annotations

import json
import socket
import sys
import threading


def ask(address: str, port: int, wait_s: float, answers: list[str]) -> None:
    """One request over one connection; its answer's text is appended, or nothing if none comes."""
    try:
        with socket.create_connection((address, port), wait_s) as sock:
            sock.sendall(f"GET /hostname HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            with sock.makefile("rb") as stream:
                head, _, body = stream.read(65536).partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 200"):
            answers.append(body.decode(errors="replace").strip())
    except OSError:
        return  # no answer: the count tells


def main() -> None:
    """Ask, all at once, and print who answered."""
    address, port, count, wait_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    answers: list[str] = []
    threads = [threading.Thread(target=ask, args=(address, port, wait_s, answers), daemon=True) for _ in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(wait_s + 5)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
