"""From a compiled object to programs and maps in the kernel.

``ObjectSpec`` is what the ELF file says, changeable until it is loaded; ``load`` may be called again and makes new
kernel objects each time. Attaching is the next step: see ``link``.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from glasshive.bpf import handle as handle_of
from glasshive.bpf import libbpf, syscall, verifier
from glasshive.bpf.btf import Btf
from glasshive.bpf.handle import MapSpec
from glasshive.bpf.layout import element_dtype
from glasshive.bpf.map import Map
from glasshive.bpf.program import Program
from glasshive.bpf.rodata import Rodata
from glasshive.bpf.uapi import MapType, ProgType, type_name
from glasshive.errors import BpfError, CapabilityError, NotFoundError, UsageError, VerifierError


class ObjectSpec:
    """What a compiled object says: ``programs``, ``maps``, ``btf`` and ``rodata``, by name."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self._data = data
        self._layouts: dict[tuple[int, int], np.dtype[Any]] = {}
        # libbpf's copy is not kept: its data sections are shared memory, which a forked process would share, and then
        # one process would load what another has written there. Opening again takes 0.2 ms.
        handle = self._open()
        try:
            self.programs = {each.name: each for each in map(handle_of.program_spec, handle_of.programs(handle))}
            self.maps = {each.name: each for each in map(handle_of.map_spec, handle_of.maps(handle))}
            self._rodata_before = handle_of.initial_value(handle, ".rodata")
            self._btf_bytes = handle_of.btf_bytes(handle)
        finally:
            libbpf.library().bpf_object__close(handle)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ObjectSpec:
        """Read an object file. Raises NotFoundError without the file, BpfError when it is not a BPF object."""
        path = Path(path)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no BPF object {path}", hint="make bpf builds the objects") from error
        return cls(data, path.name.split(".")[0])

    @cached_property
    def btf(self) -> Btf:
        """Types of the object, with the section offsets that libbpf filled in."""
        if not self._btf_bytes:
            raise UsageError(f"object {self.name} has no BTF", hint="compile it with clang -g -target bpf")
        return Btf(self._btf_bytes)

    @cached_property
    def rodata(self) -> Rodata:
        """The object's ``const volatile`` variables."""
        return Rodata(self.btf, ".rodata", self._rodata_before)

    def load(
        self,
        pins: str | os.PathLike[str] | None = None,
        only: Collection[str] | None = None,
        listen: Callable[[str, int], None] | None = None,
    ) -> LoadedObject:
        """Load into the kernel: all programs, or ``only`` those named.

        Maps of which a pin of the same name exists below ``pins`` are reused (MapIncompatibleError when they do not
        fit); nothing is pinned. ``listen`` gets each program's name and libbpf pointer before it is loaded.
        Raises VerifierError, PermissionNeededError, CapabilityError or BpfError.
        """
        lib = libbpf.library()
        handle = self._open()
        try:
            reused = self._prepare(handle, Path(pins) if pins is not None else None, only)
            if listen is not None:
                for program in handle_of.programs(handle):
                    listen(lib.bpf_program__name(program).decode(), program)
            with libbpf.caught_messages() as messages:
                result = lib.bpf_object__load(handle)
            if result < 0:
                raise self._failure(messages, -result)
            return self._collect(handle, reused)
        finally:
            lib.bpf_object__close(handle)

    # ---- inside

    def _open(self) -> int:
        lib = libbpf.library()
        opts = libbpf.OpenOpts(ctypes.sizeof(libbpf.OpenOpts), self.name.encode())
        with libbpf.caught_messages() as messages:
            handle: int | None = lib.bpf_object__open_mem(self._data, len(self._data), ctypes.byref(opts))
        if not handle:
            error, reason = ctypes.get_errno(), _last(messages)
            raise BpfError(f"{self.name} is not a BPF object that libbpf can open{reason}", error)
        return handle

    def _prepare(self, handle: int, pins: Path | None, only: Collection[str] | None) -> set[str]:
        lib = libbpf.library()
        unknown = set(only or ()) - set(self.programs)
        if unknown:
            known = ", ".join(sorted(self.programs))
            raise NotFoundError(
                f"object {self.name} has no program {', '.join(sorted(unknown))}", hint=f"it has {known}"
            )
        for program in handle_of.programs(handle):
            spec = self.programs[lib.bpf_program__name(program).decode()]
            if lib.bpf_program__type(program) != spec.type:
                lib.bpf_program__set_type(program, spec.type)
                lib.bpf_program__set_expected_attach_type(program, spec.attach_type or 0)
            if only is not None and spec.name not in only:
                lib.bpf_program__set_autoload(program, False)
        reused = set()
        for each in handle_of.maps(handle):
            spec_of_map = self.maps[handle_of.map_name(each)]
            self._check_prefix_key(spec_of_map)
            lib.bpf_map__set_pin_path(each, None)  # pinning is our own, visible step
            if lib.bpf_map__max_entries(each) != spec_of_map.max_entries:
                lib.bpf_map__set_max_entries(each, spec_of_map.max_entries)
            if spec_of_map.name == ".rodata" and "rodata" in self.__dict__ and self.rodata.changed:
                handle_of.write_initial_value(each, bytes(self.rodata.content))
            if pins is not None and not spec_of_map.internal and (pins / spec_of_map.name).exists():
                handle_of.reuse(each, spec_of_map, pins / spec_of_map.name)
                reused.add(spec_of_map.name)
        return reused

    def _check_prefix_key(self, of: MapSpec) -> None:
        """Refuse an LPM key with padding behind the prefix length: the kernel would match the padding first."""
        if of.type != MapType.LPM_TRIE or not self._btf_bytes:
            return
        key = element_dtype(self.btf, of.btf_key_type_id, of.key_size)
        if key.fields is not None and not any(field[1] == 4 for field in key.fields.values()):
            raise UsageError(
                f"map {of.name}: the key of an LPM trie has padding between prefix length and address",
                hint="declare the key struct __attribute__((packed, aligned(4)))",
            )

    def _layout(self, type_id: int, size: int) -> np.dtype[Any]:
        """The dtype of a map's key or value. Remembered: an object may be loaded in several steps."""
        if (type_id, size) not in self._layouts:
            btf = self.btf if self._btf_bytes else None
            self._layouts[type_id, size] = element_dtype(btf, type_id, size)
        return self._layouts[type_id, size]

    def _failure(self, messages: list[str], error: int) -> Exception:
        name = verifier.failed_program(messages) or self.name
        log = verifier.verifier_log(messages)
        if log.strip():
            refused = VerifierError(name, str(verifier.reason(log)), log)
            refused.errno = error  # not in the text: "permission denied" would only mislead
            return refused
        if error in (errno.EPERM, errno.EACCES):
            if not syscall.has_capabilities(syscall.CAP_BPF, syscall.CAP_PERFMON, syscall.CAP_NET_ADMIN):
                return syscall.failure(f"load {name}", error)
            spec = self.programs.get(name)
            kind = type_name(ProgType, spec.type) if spec else "unknown"
            return CapabilityError(
                f"the kernel does not permit program {name} of type {kind}", hint="glasshive doctor says what it can do"
            )
        return BpfError(f"could not load {name}{_last(messages)}", error)

    def _collect(self, handle: int, reused: set[str]) -> LoadedObject:
        lib = libbpf.library()
        programs, maps = {}, {}
        for pointer in handle_of.programs(handle):
            spec = self.programs[lib.bpf_program__name(pointer).decode()]
            fd = lib.bpf_program__fd(pointer)
            if fd >= 0:
                programs[spec.name] = Program(
                    _own(fd), attach_type=spec.attach_type, name=spec.name, section=spec.section
                )
        for pointer in handle_of.maps(handle):
            of = self.maps[handle_of.map_name(pointer)]
            key = self._layout(of.btf_key_type_id, of.key_size)
            value = self._layout(of.btf_value_type_id, of.value_size)
            maps[of.name] = Map(_own(lib.bpf_map__fd(pointer)), key_dtype=key, value_dtype=value, name=of.name)
        internal = {name for name, of in self.maps.items() if of.internal}
        return LoadedObject(self, programs, maps, reused, internal)


class LoadedObject:
    """Programs and maps of one object in the kernel. They live as long as this, a pin, or a link holds them."""

    def __init__(
        self, spec: ObjectSpec, programs: dict[str, Program], maps: dict[str, Map], reused: set[str], internal: set[str]
    ) -> None:
        self.spec = spec
        self.programs = programs
        self.maps = maps
        self.reused = frozenset(reused)
        """Names of the maps that were taken over from pins."""
        self._internal = internal

    @property
    def btf(self) -> Btf:
        """Types of the object."""
        return self.spec.btf

    def pin_maps(self, directory: str | os.PathLike[str], only: Collection[str] | None = None) -> list[str]:
        """Pin the maps that were not reused (.rodata, .bss ... never) as directory/name; returns their names."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        made = []
        for name, each in self.maps.items():
            if name in self._internal or name in self.reused or (only is not None and name not in only):
                continue
            each.pin(directory / name)
            made.append(name)
        return made

    def close(self) -> None:
        """Close every file descriptor; what is attached or pinned stays in the kernel."""
        for program in self.programs.values():
            program.close()
        for each in self.maps.values():
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LoadedObject {self.spec.name}: {len(self.programs)} programs, {len(self.maps)} maps>"


def _own(fd: int) -> int:
    """Duplicate libbpf's file descriptor, close-on-exec, so that the kernel object outlives libbpf's copy."""
    return os.dup(fd)


def _last(messages: list[str]) -> str:
    """Libbpf's first warning names the cause; those after it only pass the failure on."""
    return ": " + messages[0].strip().removeprefix("libbpf: ") if messages else ""
