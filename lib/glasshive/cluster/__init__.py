"""Clusters: what one is made of (``backend``), and how Python code uses it (``session``)."""

from glasshive.cluster.session import Cluster, connect

__all__ = ["Cluster", "connect"]
