"""The whole exception tree of Glasshive.

::

    GlasshiveError                 root: catch this to catch everything the library raises on purpose
    ├── UsageError                 the caller asked for something that cannot be: unknown name, bad value, busy name
    │   └── ManifestError          a manifest or configuration file is wrong; says file, field and what is allowed
    ├── NotFoundError              a cluster, node, pod, map ... of that name does not exist
    ├── CapabilityError            this machine lacks something; names the capability and how to mend it
    │   └── PermissionNeededError  root (or named capabilities) needed
    ├── ExhaustedError             a pool (addresses, ports, identities) has nothing left
    ├── KernelError                a system call failed; keeps ``errno``
    │   ├── BpfError               bpf(2) or libbpf refused
    │   │   ├── VerifierError      the verifier refused a program; short text, whole ``log`` kept
    │   │   └── MapIncompatibleError  a pinned map does not fit the object that wants to reuse it
    │   └── NetlinkError           rtnetlink refused a message
    ├── CompileError               clang or bcc refused a program's source
    ├── ApiError                   the Kubernetes API answered with a Status of failure; keeps ``code`` and ``reason``
    ├── ClusterError               a cluster could not be brought up or down
    │   └── ProcessError           a process of the cluster ended or never became ready
    └── DeadlineError              something awaited did not happen in time; says what was seen last

Every message says what, where and what to do, in one line. Facts are attributes, so that callers need not parse text.
"""

from __future__ import annotations

import os


class GlasshiveError(Exception):
    """Root of all errors raised on purpose.

    ``hint`` is what the reader can do about it; it is appended to the text.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(GlasshiveError):
    """The caller asked for something that cannot be."""


class ManifestError(UsageError):
    """A manifest or configuration file is wrong."""


class NotFoundError(GlasshiveError):
    """Nothing of that name exists."""


class CapabilityError(GlasshiveError):
    """This machine lacks something that was needed."""


class PermissionNeededError(CapabilityError):
    """Root, or named capabilities, are needed."""


class ExhaustedError(GlasshiveError):
    """A pool has nothing left to give."""


class KernelError(GlasshiveError):
    """A system call failed. ``errno`` is positive, 0 if unknown."""

    def __init__(self, message: str, errno: int = 0, *, hint: str = "") -> None:
        text = f"{message}: {os.strerror(errno)}" if errno else message
        super().__init__(text, hint=hint)
        self.errno = errno


class BpfError(KernelError):
    """bpf(2) or libbpf refused."""


class VerifierError(BpfError):
    """The verifier refused a program.

    The text holds the line that matters; ``log`` is the whole verifier log, ``program`` the program's name.
    """

    def __init__(self, program: str, summary: str, log: str, errno: int = 0) -> None:
        super().__init__(f"the verifier refused program {program}: {summary}", errno, hint="whole log in .log")
        self.program = program
        self.summary = summary
        self.log = log


class MapIncompatibleError(BpfError):
    """A pinned map does not fit the object that wants to reuse it."""


class NetlinkError(KernelError):
    """rtnetlink refused a message."""


class CompileError(GlasshiveError):
    """clang or bcc refused a program's source. ``log`` is the compiler's whole output."""

    def __init__(self, message: str, log: str = "", *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.log = log


class ApiError(GlasshiveError):
    """The Kubernetes API answered with a Status of failure.

    ``code`` is the HTTP status, ``reason`` the machine-readable word (NotFound, AlreadyExists, Conflict, Invalid ...).
    """

    def __init__(self, code: int, reason: str, message: str, *, details: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}


class ClusterError(GlasshiveError):
    """A cluster could not be brought up or down."""


class ProcessError(ClusterError):
    """A process of the cluster ended or never became ready."""


class DeadlineError(GlasshiveError):
    """Something awaited did not happen in time."""
