"""Where an API server is and how to be let in: a unix socket, or what a kubeconfig file says.

The next step is ``client.Client``, which opens its session from an ``ApiEndpoint``.
"""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glasshive.errors import ManifestError, NotFoundError


@dataclass(frozen=True)
class ApiEndpoint:
    """One way to an API server. ``socket`` is set for plain HTTP over a unix socket, ``tls`` for https."""

    url: str
    socket: str = ""
    token: str = ""
    tls: ssl.SSLContext | None = field(default=None, compare=False)

    @property
    def shown(self) -> str:
        """The place as a reader would look for it: socket path or URL."""
        return self.socket or self.url


def from_socket(socket: Path | str, token: str = "") -> ApiEndpoint:
    """Return the endpoint of a server that listens on a unix socket."""
    return ApiEndpoint(url="http://localhost", socket=str(socket), token=token)


def from_kubeconfig(path: Path | str, context: str = "") -> ApiEndpoint:
    """Return the endpoint that ``context`` (default: the current one) of a kubeconfig file names.

    Raises NotFoundError if there is no such file, ManifestError (with file and field) if it cannot be used.
    """
    import yaml

    file = Path(path)
    try:
        config = yaml.safe_load(file.read_text()) or {}
    except OSError as error:
        raise NotFoundError(f"kubeconfig {file} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ManifestError(f"kubeconfig {file} is not YAML: {str(error).splitlines()[0]}") from error
    name = context or config.get("current-context", "")
    chosen = _named(config, "contexts", "context", name, file)
    cluster = _named(config, "clusters", "cluster", chosen.get("cluster", ""), file)
    user = _named(config, "users", "user", chosen.get("user", ""), file)
    url = str(cluster.get("server", "")).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ManifestError(f"kubeconfig {file}: clusters[].cluster.server is {url!r}, not an http(s) URL")
    token = user.get("token", "")
    if not token and user.get("tokenFile"):
        token = (file.parent / user["tokenFile"]).read_text().strip()
    tls = _tls(cluster, user, file) if url.startswith("https://") else None
    return ApiEndpoint(url=url, token=token, tls=tls)


def _named(config: dict[str, Any], section: str, inner: str, name: str, file: Path) -> dict[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            found: dict[str, Any] = entry.get(inner) or {}
            return found
    raise ManifestError(f"kubeconfig {file}: no entry {name!r} in {section}")


def _data(source: dict[str, Any], field_name: str, file: Path) -> bytes | None:
    """Return PEM bytes from ``<field>-data`` (base64) or from the file that ``<field>`` names."""
    if source.get(f"{field_name}-data"):
        try:
            return base64.b64decode(source[f"{field_name}-data"], validate=True)
        except binascii.Error as error:
            raise ManifestError(f"kubeconfig {file}: {field_name}-data is not base64") from error
    if source.get(field_name):
        return (file.parent / str(source[field_name])).read_bytes()
    return None


def _tls(cluster: dict[str, Any], user: dict[str, Any], file: Path) -> ssl.SSLContext:
    authority = _data(cluster, "certificate-authority", file)
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    certificate, key = _data(user, "client-certificate", file), _data(user, "client-key", file)
    if certificate and key:
        # OpenSSL's Python face loads client keys from files only; the file (mode 0600) lives for this one call.
        with tempfile.NamedTemporaryFile(suffix=".pem") as pem:
            pem.write(certificate + b"\n" + key)
            pem.flush()
            tls.load_cert_chain(pem.name)
    return tls
