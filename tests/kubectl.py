"""A small cluster and the real kubectl against it, for scenario tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import residue

PATIENCE_SECONDS = 120
PROGRAM = Path(sys.executable).parent / "kubectl"


@dataclass
class Kubectl:
    """kubectl with the cluster's kubeconfig: TLS and token, as people use it."""

    kubeconfig: str

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": self.kubeconfig}

    def __call__(self, *argv: str, stdin: bytes = b"", rc: int | None = 0) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [PROGRAM, *argv], input=stdin, capture_output=True, env=self.environment, timeout=PATIENCE_SECONDS,
            check=False,
        )  # fmt: skip
        if rc is not None:
            assert done.returncode == rc, (argv, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def text(self, *argv: str, **options: Any) -> str:
        return self(*argv, **options).stdout.decode()

    def start(self, *argv: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([PROGRAM, *argv], env=self.environment, **options)


@contextmanager
def cluster(name: str, *manifests: str, nodes: int = 2) -> Iterator[Kubectl]:
    """A cluster with these manifests (files or YAML text) applied and ready; gone at the end."""
    residue.own(name)
    glasshive = [sys.executable, "-m", "glasshive"]
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(manifests):
            Path(folder, f"{number}.yaml").write_text(Path(text).read_text() if "\n" not in text else text)
        try:
            subprocess.run(
                [*glasshive, "up", name, "--nodes", str(nodes)], check=True, capture_output=True, timeout=180
            )
            kubectl = Kubectl(f"/run/glasshive/{name}/kubeconfig")
            for number in range(len(manifests)):
                kubectl("apply", "-f", str(Path(folder, f"{number}.yaml")))
            if manifests:
                kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=120s")
            yield kubectl
        finally:
            subprocess.run([*glasshive, "down", name], check=True, capture_output=True, timeout=90)
