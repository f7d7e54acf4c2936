"""``%%bpf``: a notebook cell of C that becomes a running BPF program. Loaded by ``%load_ext glasshive``.

::

    %%bpf execs
    BPF_HASH(counts, u32, u64);
    RAW_TRACEPOINT_PROBE(sched_process_exec) { ... }

leaves a ``glasshive.bpf.bcc.Running`` in the variable ``execs`` (``bpf`` if no name is given), so that
``execs.frame("counts")`` is a pandas table. Running the cell again unloads what it loaded before; so does the end of
the notebook's kernel.
``%%bpf --refused NAME`` says that the cell is meant to be refused: its complaint is shown and the notebook goes on,
and it is an error if the kernel accepts it. Complaints count lines as the cell does; the ``%%bpf`` line is line 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.errors import CompileError, GlasshiveError, UsageError, VerifierError

if TYPE_CHECKING:
    from glasshive.bpf.bcc import Running

_USAGE = "%%bpf [--refused] [NAME]"


class Refusal:
    """What compiler or verifier said about a cell; ``log`` is all of it."""

    def __init__(self, error: CompileError | VerifierError, name: str) -> None:
        self.name = name
        self.by = "verifier" if isinstance(error, VerifierError) else "compiler"
        self.summary = error.summary if isinstance(error, VerifierError) else error.message
        self.log = error.log

    def __repr__(self) -> str:
        return f"{self.name}: refused by the {self.by}\n  {self.summary}"


def bpf(line: str, cell: str) -> Running | Refusal:
    """Compile, load and attach a cell of C; see the module's text."""
    from IPython import get_ipython

    from glasshive.bpf import bcc

    shell = get_ipython()
    refused, name = _arguments(line)
    _unload(shell.user_ns.get(name))
    result: Running | Refusal
    try:
        result = bcc.run(cell, name=name, first_line=2)
    except (CompileError, VerifierError) as error:
        if not refused:
            raise _briefly(error) from None
        result = Refusal(error, name)
    except GlasshiveError as error:
        raise _briefly(error) from None
    else:
        if refused:
            result.close()
            accepted = f"{name} was meant to be refused, but the kernel accepts it"
            raise _briefly(UsageError(accepted, hint="leave --refused out"))
    shell.user_ns[name] = result
    return result


def _arguments(line: str) -> tuple[bool, str]:
    """Read the magic's own line: whether refusal is expected, and the variable's name."""
    words = line.split()
    refused = "--refused" in words
    names = [word for word in words if word != "--refused"]
    if len(names) > 1 or any(not word.isidentifier() for word in names):
        raise UsageError(f"%%bpf does not understand {line.strip()!r}", hint=_USAGE)
    return refused, names[0] if names else "bpf"


def _unload(before: object) -> None:
    close = getattr(before, "close", None)
    if type(before).__module__ == "glasshive.bpf.bcc" and close is not None:
        close()


def _briefly(error: GlasshiveError) -> GlasshiveError:
    """Have the notebook show the error's text instead of a Python traceback through our own modules."""
    text = f"{type(error).__name__}: {error}"
    error._render_traceback_ = lambda: [text]  # type: ignore[attr-defined]
    return error


def load_ipython_extension(shell: Any) -> None:
    """Register the magic; called by ``%load_ext glasshive``."""
    shell.register_magic_function(bpf, magic_kind="cell", magic_name="bpf")


def unload_ipython_extension(shell: Any) -> None:
    """Unload what cells have loaded; called by ``%unload_ext glasshive``."""
    for value in list(shell.user_ns.values()):
        _unload(value)
