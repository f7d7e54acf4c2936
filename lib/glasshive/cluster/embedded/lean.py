"""Importing heavy libraries without what they would do for programs of another sort."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator

_DURING_IMPORT = {
    "SSL_CERT_FILE": os.devnull,  # aiohttp reads all of the system's certificates (50 ms); we speak over unix sockets
    "OPENBLAS_NUM_THREADS": "1",  # numpy starts a thread per core: a forking process must have one only
}


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """Import inside this block; the environment is the same again afterwards.

    What the user's environment says of these variables is for programs of that other sort, too. Modules live as long
    as the process: the garbage collector need not look at them, neither now nor later.
    """
    before = {name: os.environ.get(name) for name in _DURING_IMPORT}
    collecting = gc.isenabled()
    os.environ.update(_DURING_IMPORT)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
