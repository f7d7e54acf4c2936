"""Frames between the kubelet and a pod's first process: a SEQPACKET socket, one frame a packet, never blocking.

A frame is one letter and its payload:

======  ==========================================================  ====================
letter  payload                                                     direction
======  ==========================================================  ====================
``q``   request, JSON: ``{"op": "watch" | "exec" | "attach" | "stop" | "restart", ...}``  to the pod
``s``   the pod's status, JSON                                      from the pod
``o``   standard output of a command                                from the pod
``e``   standard error of a command                                 from the pod
``i``   standard input of a command, empty at its end               to the pod
``a``   how many bytes of input have been taken, as decimal digits  from the pod
``r``   new size of a command's terminal, JSON: ``{"rows": 24, "columns": 80}``  to the pod
``x``   end of a command, JSON: ``{"rc": 0}``, with ``"error"`` if it could not be run  from the pod
======  ==========================================================  ====================
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

FRAME_BYTES = 65536
QUEUE_FRAMES = 64
"""More unsent frames than this and the source is asked to wait (:attr:`Channel.full`)."""


class Channel:
    """The pod's end of one connection. ``on_frame`` gets each frame; ``on_close`` is called once when the other end has
    gone.
    """

    def __init__(
        self,
        peer: socket.socket,
        selector: selectors.BaseSelector,
        on_frame: Callable[[Channel, bytes, bytes], None],
        on_close: Callable[[Channel], None],
    ) -> None:
        self._socket = peer
        self._selector = selector
        self._on_frame = on_frame
        self._on_close = on_close
        self._queue: deque[bytes] = deque()
        self._was_full = False
        self.open = True
        self.drained: Callable[[], None] | None = None
        """Called when a full queue has been sent."""
        peer.setblocking(False)
        selector.register(peer, selectors.EVENT_READ, self._ready)

    @property
    def full(self) -> bool:
        """Whether the source should stop producing for now."""
        return len(self._queue) >= QUEUE_FRAMES

    @property
    def unsent(self) -> bool:
        """Whether frames wait for room at the other end."""
        return bool(self._queue)

    def send(self, letter: bytes, payload: bytes) -> None:
        """Send a frame, now or when the other end has room. Silently nothing if that end has gone."""
        if not self.open:
            return
        self._queue.append(letter + payload)
        self._was_full = self._was_full or self.full
        if len(self._queue) == 1:
            self._flush()

    def send_json(self, letter: bytes, value: dict[str, Any]) -> None:
        """Send a frame of JSON."""
        self.send(letter, json.dumps(value).encode())

    def close(self) -> None:
        """Close from this end; what has not been sent is lost."""
        if self.open:
            self.open = False
            self._queue.clear()
            self._selector.unregister(self._socket)
            self._socket.close()
            self._on_close(self)

    def _ready(self, events: int) -> None:
        if self.open and events & selectors.EVENT_WRITE:
            self._flush()
        if self.open and events & selectors.EVENT_READ:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(FRAME_BYTES + 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_frame(self, data[:1], data[1:])
        else:
            self.close()

    def _flush(self) -> None:
        try:
            while self._queue:
                self._socket.send(self._queue[0])
                self._queue.popleft()
        except BlockingIOError:
            self._selector.modify(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self._ready)
            return
        except OSError:
            self.close()
            return
        with contextlib.suppress(KeyError):
            self._selector.modify(self._socket, selectors.EVENT_READ, self._ready)
        # Sending a full queue takes several rounds: what counts is that it was full at any time since it was empty.
        if self._was_full and self.drained is not None:
            self._was_full = False
            self.drained()
