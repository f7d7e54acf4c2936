"""The embedded API server: the Kubernetes API over one SQLite file, for clusters made of network namespaces."""

from .server import Server

__all__ = ["Server"]
