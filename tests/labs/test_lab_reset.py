"""A reset from a bad place: components stopped, faults of several kinds injected; afterwards all is as before."""

from __future__ import annotations

import os
import time

import pytest

from glasshive.cluster import Cluster
from glasshive.lab import faults, pristine
from glasshive.lab.doors import clusterwide
from glasshive.lab.grading.reader import ClusterReader
from glasshive.lab.kit import Lab
from glasshive.lab.manifest import find_lab

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: labs run on a cluster of network namespaces"),
]


def test_a_reset_heals_starts_and_removes_everything() -> None:
    with Cluster(f"reset-{os.getpid()}", nodes=2) as cluster:
        entry = find_lab("01")
        Lab.on(cluster, entry).reset()
        before = pristine.inventory(ClusterReader(cluster, "lab-01"))
        lab = Lab.on(cluster, entry)
        lab.pod("web", node="node1")
        lab.pod("client", node="node2")
        lab.inject("policy-typo", namespace=lab.namespace, to="web", allow="client")
        lab.policy(clusterwide("for-all", {"endpointSelector": {}, "ingress": [{"fromEntities": ["all"]}]}))
        lab.inject("mtu", node="node1")
        lab.inject("stale-ipcache", node="node2", namespace=lab.namespace, pod="web")
        lab.stop("node2-dns", "control-plane")
        assert "as before" in lab.reset()
        assert faults.active(cluster) == []
        deadline = time.monotonic() + 20
        while left := pristine.differences(before, pristine.inventory(ClusterReader(cluster, "lab-01"))):
            assert time.monotonic() < deadline, left
            time.sleep(0.2)
