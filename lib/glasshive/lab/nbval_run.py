"""nbval with warm kernels: ``python -m glasshive.lab.nbval_run ARGUMENTS-OF-PYTEST``; started by ``compare``.

A process of its own, because nbval is a pytest plugin, and who compares may be inside pytest. It loads no other plugin.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from glasshive.lab.kernels import KernelPool, spare_imports


def main(arguments: list[str]) -> int:
    """Run pytest with nbval, whose kernels come from a pool."""
    spare_imports()
    import nbval.kernel
    import nbval.plugin
    import pytest

    with KernelPool() as pool:

        class WarmKernel(nbval.kernel.RunningKernel):
            """A kernel of the pool, where nbval would start one."""

            def __init__(self, kernel_name: str, cwd: Any = None, startup_timeout: float = 60) -> None:  # noqa: ARG002
                self.km = pool.take(Path(cwd or "."), {})
                self.kc = self.km.client()
                self.kc.start_channels(hb=False)
                self._ensure_iopub_up()

            def stop(self) -> None:
                self.kc.stop_channels()
                pool.give_up(self.km)
                del self.km

        nbval.plugin.RunningKernel = WarmKernel
        return int(pytest.main(arguments, plugins=[nbval.plugin]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
