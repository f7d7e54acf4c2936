"""What the operator must know about its cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glasshive.ipam.cluster_pool import Block

POD_BLOCKS = (Block.parse("10.244.0.0/16", 24), Block.parse("fd00:10:244::/48", 64))


@dataclass(frozen=True)
class OperatorConfig:
    """``pod_blocks`` are the pools that node pod CIDRs are cut from, one per address family.

    ``ca_pem`` is published to every namespace as ConfigMap kube-root-ca.crt if given. ``dns_addresses`` are those of
    the Service kube-dns, the primary family first; none: there is no such Service. ``job_retry_seconds`` is the wait
    after a job's first failed pod; it doubles with each further one.

    A node is looked at every ``node_monitor_seconds`` and counts as unreachable after ``node_grace_seconds`` without a
    sign of life; a node that says itself that it is not ready is tainted after ``not_ready_taint_seconds``. Identities
    without use are marked, and deleted ``identity_gc_seconds`` later.
    """

    pod_blocks: Sequence[Block] = POD_BLOCKS
    service_cidrs: Sequence[str] = ()
    ca_pem: str = ""
    cluster: str = "default"
    dns_addresses: Sequence[str] = ()
    job_retry_seconds: float = 10.0
    node_monitor_seconds: float = 5.0
    node_grace_seconds: float = 40.0
    not_ready_taint_seconds: float = 1.0
    identity_gc_seconds: float = 900.0
