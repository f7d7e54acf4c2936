"""A security identity: a number that stands for a set of labels, the same on every node of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from glasshive.model.labels import Labels

CLUSTER_MAX = 65535
"""Highest number of an identity that is shared by the cluster (16 bits; the VXLAN VNI carries it)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """``number`` travels with packets and keys policy; ``labels`` say whom it stands for."""

    number: int
    labels: Labels
