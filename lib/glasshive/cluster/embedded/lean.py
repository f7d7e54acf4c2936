"""Importing heavy libraries without what they would do for programs of another sort."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_DURING_IMPORT = {
    "SSL_CERT_FILE": os.devnull,  # aiohttp reads all of the system's certificates (40 ms); we speak over unix sockets
    "OPENBLAS_NUM_THREADS": "1",  # numpy starts a thread per core: a forking process must have one only
}


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """Import inside this block; the environment is the same again afterwards."""
    before = {name: os.environ.get(name) for name in _DURING_IMPORT}
    os.environ.update({name: value for name, value in _DURING_IMPORT.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
