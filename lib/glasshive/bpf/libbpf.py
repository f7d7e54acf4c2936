"""The system's libbpf.so.1 through ctypes: opened when first needed, its messages caught instead of printed.

Only what this package uses is declared. 1.1 is the floor; newer kernel interfaces go through ``syscall`` instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

from glasshive.errors import CapabilityError

_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_WARN = 0
_caught = threading.local()

_p, _s, _i, _u, _z = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_size_t
_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "bpf_object__open_mem": (_p, [_s, _z, _p]),
    "bpf_object__close": (None, [_p]),
    "bpf_object__load": (_i, [_p]),
    "bpf_object__btf": (_p, [_p]),
    "bpf_object__next_map": (_p, [_p, _p]),
    "bpf_object__next_program": (_p, [_p, _p]),
    "btf__raw_data": (_p, [_p, ctypes.POINTER(ctypes.c_uint32)]),
    "bpf_map__name": (_s, [_p]),
    "bpf_map__type": (_i, [_p]),
    "bpf_map__key_size": (_u, [_p]),
    "bpf_map__value_size": (_u, [_p]),
    "bpf_map__max_entries": (_u, [_p]),
    "bpf_map__map_flags": (_u, [_p]),
    "bpf_map__btf_key_type_id": (_u, [_p]),
    "bpf_map__btf_value_type_id": (_u, [_p]),
    "bpf_map__is_internal": (ctypes.c_bool, [_p]),
    "bpf_map__initial_value": (_p, [_p, ctypes.POINTER(ctypes.c_size_t)]),
    "bpf_map__set_max_entries": (_i, [_p, _u]),
    "bpf_map__set_pin_path": (_i, [_p, _s]),
    "bpf_map__reuse_fd": (_i, [_p, _i]),
    "bpf_map__set_autocreate": (_i, [_p, ctypes.c_bool]),
    "bpf_map__fd": (_i, [_p]),
    "bpf_program__name": (_s, [_p]),
    "bpf_program__section_name": (_s, [_p]),
    "bpf_program__type": (_i, [_p]),
    "bpf_program__set_type": (_i, [_p, _i]),
    "bpf_program__expected_attach_type": (_i, [_p]),
    "bpf_program__set_expected_attach_type": (_i, [_p, _i]),
    "bpf_program__set_autoload": (_i, [_p, ctypes.c_bool]),
    "bpf_program__insn_cnt": (_z, [_p]),
    "bpf_program__set_log_level": (_i, [_p, _u]),
    "bpf_program__set_log_buf": (_i, [_p, _p, _z]),
    "bpf_program__fd": (_i, [_p]),
}


class OpenOpts(ctypes.Structure):
    """The head of struct bpf_object_open_opts: libbpf takes the length as the version."""

    _fields_ = [("sz", ctypes.c_size_t), ("object_name", ctypes.c_char_p)]


@cache
def library() -> ctypes.CDLL:
    """Open libbpf. Raises CapabilityError when the machine has none."""
    try:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise CapabilityError(f"libbpf 1.x cannot be opened: {error}", hint="apt-get install libbpf1") from error
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.libbpf_set_print.restype = None
    lib.libbpf_set_print.argtypes = [_PRINT]
    return lib


@contextlib.contextmanager
def caught_messages() -> Iterator[list[str]]:
    """Collect libbpf's warnings of this thread, the verifier's log among them, in the list given.

    libbpf has one printer for the whole process and bcc sets its own, so ours is put in place each time.
    """
    library().libbpf_set_print(_print)
    before = getattr(_caught, "messages", None)
    messages: list[str] = []
    _caught.messages = messages
    try:
        yield messages
    finally:
        _caught.messages = before


def version() -> str:
    """Version of the library, such as ``v1.1``."""
    function = library().libbpf_version_string
    function.restype = ctypes.c_char_p
    text: bytes = function()
    return text.decode()


_libc = ctypes.CDLL(None)
_libc.vasprintf.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_char_p, ctypes.c_void_p]
_libc.free.argtypes = [ctypes.c_void_p]


def _on_print(level: int, form: bytes, arguments: int) -> int:
    messages = getattr(_caught, "messages", None)
    if level != _WARN or messages is None:
        return 0
    text = ctypes.c_void_p()
    length = _libc.vasprintf(ctypes.byref(text), form, arguments)
    if length > 0 and text.value:
        messages.append(ctypes.string_at(text.value, length).decode(errors="replace"))
        _libc.free(text)
    return 0


_print = _PRINT(_on_print)
