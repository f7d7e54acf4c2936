"""Raw records: from the kernel's ring buffers to arrays, one array per record type."""

from __future__ import annotations

from glasshive.events.stream import RecordStream

__all__ = ["RecordStream"]
