"""Parameters of a run: ``cluster``, ``seed`` and ``tier``, as papermill injects them into a notebook.

papermill writes them as a first cell (``# Parameters``), so that ``papermill 01_first_pod.ipynb out.ipynb -p seed 3``
works like ``glasshive lab run 01 --seed 3``: ``glasshive.lab("01")`` finds them there. A learner's own variables of
these names mean nothing to it.
"""

from __future__ import annotations

from typing import Any

from glasshive.errors import UsageError

_TYPES: dict[str, type] = {"cluster": str, "seed": int, "tier": int}


def injected() -> dict[str, Any]:
    """What papermill has injected into the notebook that this runs in; empty in any other place."""
    try:
        from IPython import get_ipython
    except ImportError:
        return {}
    shell = get_ipython()
    return read(shell.user_ns) if shell is not None else {}


def read(namespace: dict[str, Any]) -> dict[str, Any]:
    """Read a notebook's namespace. UsageError for a parameter of the wrong type."""
    cells = [one for one in namespace.get("In", [])[1:3] if one]
    if not cells or not cells[0].lstrip().startswith("# Parameters"):
        return {}
    found = {name: namespace[name] for name in _TYPES if name in namespace}
    for name, value in found.items():
        if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
            kind = "text" if _TYPES[name] is str else "a whole number"
            raise UsageError(f"the parameter {name} is {value!r}, not {kind}")
    return found
