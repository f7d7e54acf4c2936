"""bcc's tables as rows of plain values: ctypes structs become flat columns, character arrays text, queues lists."""

from __future__ import annotations

import collections
import contextlib
import ctypes
from typing import Any

from glasshive.errors import GlasshiveError

TYPES = {
    1: "hash", 2: "array", 3: "prog_array", 4: "perf_event_array", 5: "percpu_hash", 6: "percpu_array",
    7: "stack_trace", 8: "cgroup_array", 9: "lru_hash", 10: "lru_percpu_hash", 11: "lpm_trie", 12: "array_of_maps",
    13: "hash_of_maps", 14: "devmap", 15: "sockmap", 16: "cpumap", 17: "xskmap", 18: "sockhash", 22: "queue",
    23: "stack", 24: "sk_storage", 25: "devmap_hash", 27: "ringbuf", 28: "inode_storage", 29: "task_storage",
}  # fmt: skip
_WITHOUT_ROWS = {"prog_array", "perf_event_array", "cgroup_array", "ringbuf", "stack_trace", "queue", "stack", "xskmap"}
_KEPT_EVENTS = 10_000


class NotTyped(GlasshiveError):  # noqa: N818 - a fact about a map, not a failure of ours
    """The text does not say what a queue's events look like."""


def types(lib: Any, module: int) -> dict[str, str]:
    """Give the maps of a loaded module and their types, in the order of the text."""
    # bcc's Python part does not declare these two functions of libbcc; undeclared, ctypes cuts pointers to 32 bits.
    count = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)(("bpf_num_tables", lib))(module)
    name_of = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)(("bpf_table_name", lib))
    found = {}
    for number in range(count):
        name = name_of(module, number) or b"?"
        found[name.decode()] = TYPES.get(lib.bpf_table_type_id(module, number), "?")
    return found


def flatten(value: Any, name: str) -> dict[str, Any]:
    """Turn a ctypes value into columns: a struct gives one for each field, named ``name.field``."""
    if isinstance(value, ctypes.Structure | ctypes.Union):
        columns: dict[str, Any] = {}
        for field in value._fields_:
            if not field[0].startswith("__pad"):
                columns |= flatten(getattr(value, field[0]), f"{name}.{field[0]}" if name else field[0])
        return columns
    if isinstance(value, ctypes.Array):
        return {name: [next(iter(flatten(one, "").values()), None) for one in value]}
    if isinstance(value, bytes):
        return {name: value.decode("utf-8", "replace")}
    return {name: getattr(value, "value", value)}


def rows(table: Any, kind: str) -> list[dict[str, Any]]:
    """Give a table's entries. Zero entries of arrays are kept: an array has them all."""
    if kind in _WITHOUT_ROWS:
        return []
    # Key and value side by side need different names unless one of them is a struct.
    found = []
    for key, value in table.items():
        row = flatten(key, "" if isinstance(key, ctypes.Structure) else "key")
        if "percpu" in kind:
            each = [next(iter(flatten(one, "v").values())) for one in value]
            if not isinstance(value[0], ctypes.Structure):
                row |= {f"cpu{number}": one for number, one in enumerate(each)} | {"value": sum(each)}
            else:
                row |= {f"cpu{number}": flatten(one, "") for number, one in enumerate(value)}
        else:
            row |= flatten(value, "" if isinstance(value, ctypes.Structure) else "value")
        found.append(row)
    return found


class Queue:
    """Events of a ring buffer or perf map, the latest ones kept."""

    def __init__(self, bpf: Any, table: Any, kind: str) -> None:
        self.events: collections.deque[dict[str, Any]] = collections.deque(maxlen=_KEPT_EVENTS)
        self.lost = 0
        self._bpf = bpf
        self._table = table
        self._ring = kind == "ringbuf"
        try:
            table.event(ctypes.addressof(ctypes.create_string_buffer(8192)))
        except Exception as trouble:  # bcc raises whatever its parser of C declarations does
            raise NotTyped(f"the text does not say what its events look like: {trouble}") from trouble
        if self._ring:
            table.open_ring_buffer(self._take_ring)
        else:
            table.open_perf_buffer(self._take_perf, page_cnt=16, lost_cb=self._count_lost)

    def _take_ring(self, _context: Any, data: Any, _size: int) -> int:
        self.events.append(flatten(self._table.event(data), ""))
        return 0

    def _take_perf(self, _cpu: int, data: Any, _size: int) -> None:
        self.events.append(flatten(self._table.event(data), ""))

    def _count_lost(self, count: int) -> None:
        self.lost += count

    def close(self) -> None:
        """Let go of perf buffers while their map is still open: bcc's own order of doing it fails later, and aloud."""
        if not self._ring:
            opened = self._table._open_key_fds  # noqa: SLF001 - bcc offers no closing of its own
            for cpu in list(opened):
                with contextlib.suppress(KeyError):
                    del self._table[cpu]
            opened.clear()

    def poll(self, wait_ms: int) -> None:
        """Take what has arrived; wait up to ``wait_ms`` milliseconds for the first event."""
        if self._ring:
            self._bpf.ring_buffer_poll(timeout=wait_ms)
        else:
            self._bpf.perf_buffer_poll(timeout=wait_ms)
