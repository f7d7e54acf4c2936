"""``%%bpf``: a notebook cell of C that becomes a running BPF program. Loaded by ``%load_ext glasshive``.

::

    %%bpf execs
    BPF_HASH(counts, u32, u64);
    RAW_TRACEPOINT_PROBE(sched_process_exec) { ... }

leaves a ``glasshive.bpf.bcc.Running`` in the variable ``execs`` (``bpf`` if no name is given), so that
``execs.frame("counts")`` is a pandas table. Running the cell again unloads what it loaded before; so does the end of
the notebook's kernel.
Its picture is a ``ProgramView``: the cell's lines beside the instructions that the kernel runs for them.
``%%bpf --refused NAME`` says that the cell is meant to be refused: its complaint is shown and the notebook goes on,
and it is an error if the kernel accepts it. Complaints count lines as the cell does; the ``%%bpf`` line is line 1.

``%%bpf --object NAME`` is for whole C files, as datapaths are made of: clang and libbpf instead of bcc. The notebook's
``lab`` compiles it, loads it with few capabilities and pins it, so that it outlives the notebook's kernel; what had the
name before is unloaded. A refusal is shown and the notebook goes on, as mending it is what such cells are for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.bpf import describe
from glasshive.errors import CompileError, GlasshiveError, UsageError, VerifierError

if TYPE_CHECKING:
    from glasshive.bpf.bcc import Running
    from glasshive.model.program_text import ProgramText

_USAGE = "%%bpf [--refused] [--object] [NAME]"
_FLAGS = {"--refused", "--object"}
_FIRST_LINE = 2  # the %%bpf line is line 1


class Refusal:
    """What compiler or verifier said about a cell; ``log`` is all of it, ``shown`` the cell with the line marked."""

    def __init__(self, error: CompileError | VerifierError, name: str, cell: str = "") -> None:
        self.name = name
        self.by = "verifier" if isinstance(error, VerifierError) else "compiler"
        self.summary = error.summary if isinstance(error, VerifierError) else error.message
        self.log = error.log
        self.shown = describe.refused_cell(name, cell, error, _FIRST_LINE)

    def __repr__(self) -> str:
        return f"{self.name}: refused by the {self.by}\n  {self.summary}"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return _bundle(self.shown, repr(self), options)


def bpf(line: str, cell: str) -> Running | Refusal | Any:
    """Compile, load and attach a cell of C; see the module's text."""
    from IPython import get_ipython

    shell = get_ipython()
    flags, name = _arguments(line)
    _unload(shell.user_ns.get(name))
    try:
        result = _made(shell, cell, name, as_object="--object" in flags)
    except (CompileError, VerifierError) as error:
        if not flags:
            raise _briefly(error) from None
        result = Refusal(error, name, cell)
    except GlasshiveError as error:
        raise _briefly(error) from None
    else:
        if "--refused" in flags:
            result.close()
            accepted = f"{name} was meant to be refused, but the kernel accepts it"
            raise _briefly(UsageError(accepted, hint="leave --refused out"))
    shell.user_ns[name] = result
    return result


def _made(shell: Any, cell: str, name: str, *, as_object: bool) -> Any:
    """Have the cell compiled and loaded: by bcc, or as an object by the notebook's lab, which owns what it becomes."""
    if not as_object:
        from glasshive.bpf import bcc

        return bcc.run(cell, name=name, first_line=_FIRST_LINE)
    workshop = getattr(shell.user_ns.get("lab"), "workshop", None)
    if workshop is None:
        raise UsageError("%%bpf --object needs a lab to own the program", hint='run lab = glasshive.lab("...") first')
    return workshop.write(name, cell, first_line=_FIRST_LINE)


def _bundle(shown: ProgramText, twin: str, options: dict[str, Any]) -> Any:
    """A view's output with ``twin`` as its text."""
    from glasshive.widgets.program_view import ProgramView

    bundle = ProgramView(shown)._repr_mimebundle_(**options)
    (bundle[0] if isinstance(bundle, tuple) else bundle)["text/plain"] = twin
    return bundle


def _running_bundle(running: Running, **options: Any) -> Any:
    """Show what a cell runs; what has been unloaded is only its text."""
    if running.closed:
        return {"text/plain": repr(running)}
    return _bundle(describe.running_cell(running, _FIRST_LINE), repr(running), options)


def _arguments(line: str) -> tuple[set[str], str]:
    """Read the magic's own line: its flags, and the variable's name."""
    words = line.split()
    flags = {word for word in words if word in _FLAGS}
    names = [word for word in words if word not in _FLAGS]
    if len(names) > 1 or any(not word.isidentifier() for word in names):
        raise UsageError(f"%%bpf does not understand {line.strip()!r}", hint=_USAGE)
    return flags, names[0] if names else "bpf"


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
    """Register the magic and the picture of what it loads; called by ``%load_ext glasshive``."""
    bundles = shell.display_formatter.mimebundle_formatter
    bundles.for_type_by_name("glasshive.bpf.bcc", "Running", _running_bundle)
    shell.register_magic_function(bpf, magic_kind="cell", magic_name="bpf")


def unload_ipython_extension(shell: Any) -> None:
    """Unload what cells have loaded; called by ``%unload_ext glasshive``."""
    for value in list(shell.user_ns.values()):
        _unload(value)
