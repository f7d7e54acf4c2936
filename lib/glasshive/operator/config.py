"""What the operator must know about its cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glasshive.ipam.cluster_pool import Block

POD_BLOCKS = (Block.parse("10.244.0.0/16", 24), Block.parse("fd00:10:244::/48", 64))


@dataclass(frozen=True)
class OperatorConfig:
    """``pod_blocks`` are the pools that node pod CIDRs are cut from, one per address family.

    ``ca_pem`` is published to every namespace as ConfigMap kube-root-ca.crt if given. ``job_retry_seconds`` is the
    wait after a job's first failed pod; it doubles with each further one.
    """

    pod_blocks: Sequence[Block] = POD_BLOCKS
    ca_pem: str = ""
    job_retry_seconds: float = 10.0
