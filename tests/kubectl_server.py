"""A lone API server (a process, with TLS and a token) and the real kubectl against it."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("kubectl")
_RUNNER = """
import asyncio, sys
from glasshive.kube.server import Server
async def main():
    folder = sys.argv[1]
    server = Server(folder + "/store.db", tls=(folder + "/cert.pem", folder + "/key.pem"), token="t0ken", port=0)
    await server.start()
    print(server.port, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@dataclass(frozen=True)
class Kubectl:
    """kubectl with the server's kubeconfig, which lies in ``folder``."""

    folder: Path

    def __call__(self, *argv: str, given: str = "", code: int = 0) -> str:
        """Run kubectl; its output, or its complaint if ``code`` is not 0."""
        command = [PROGRAM, f"--kubeconfig={self.folder}/kubeconfig", f"--cache-dir={self.folder}/cache", *argv]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "HOME": str(self.folder)})  # fmt: skip
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout if code == 0 else done.stderr


@contextmanager
def serving(folder: Path) -> Iterator[Kubectl]:
    """A running server that keeps everything in ``folder``."""
    _certificate(folder)
    process = subprocess.Popen([sys.executable, "-c", _RUNNER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    (folder / "kubeconfig").write_text(f"""
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: {folder}/cert.pem}}}}]
users: [{{name: u, user: {{token: t0ken}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
current-context: c
""")
    try:
        yield Kubectl(folder)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _certificate(folder: Path) -> None:
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
