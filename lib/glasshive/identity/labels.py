"""Which labels of a pod make its identity.

Labels that change with every roll-out or differ between replicas (template hashes, pod names, indices) are left out:
with them every replica would be an identity of its own, and policy entries would grow with pods instead of with kinds
of pods. The filter's default and the generated labels' names are those of the field (reference/features.md, 2.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from glasshive.model.labels import SOURCE_K8S, Label, Labels

NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels"
CLUSTER = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"

_INCLUDED = (NAMESPACE, NAMESPACE_LABELS, CLUSTER, SERVICE_ACCOUNT, "app.kubernetes.io")
_EXCLUDED = re.compile(
    "|".join(
        (
            r"io\.kubernetes",
            r"kubernetes\.io",
            r"statefulset\.kubernetes\.io/pod-name",
            r"apps\.kubernetes\.io/pod-index",
            r"batch\.kubernetes\.io/job-completion-index",
            r"batch\.kubernetes\.io/controller-uid",
            r".*beta\.kubernetes\.io",
            r"k8s\.io",
            r"pod-template-generation",
            r"pod-template-hash",
            r"controller-revision-hash",
            r"controller-uid",
            r"annotation.*",
            r"etcd_node",
            r"topology\.kubernetes\.io",
        )
    )
)


def relevant(key: str) -> bool:
    """Whether a label key of a pod or namespace counts for identity."""
    return key.startswith(_INCLUDED) or not _EXCLUDED.match(key)


def security_labels(
    pod_labels: Mapping[str, str],
    namespace: str,
    *,
    namespace_labels: Mapping[str, str] | None = None,
    service_account: str = "default",
    cluster: str = "default",
) -> Labels:
    """The labels a pod's identity is given for: its own that count, its namespace's, and where it belongs."""
    found = [Label(SOURCE_K8S, key, value) for key, value in pod_labels.items() if relevant(key)]
    found += [Label(SOURCE_K8S, f"{NAMESPACE_LABELS}.{key}", value) for key, value in (namespace_labels or {}).items()]
    found += [
        Label(SOURCE_K8S, NAMESPACE, namespace),
        Label(SOURCE_K8S, SERVICE_ACCOUNT, service_account or "default"),
        Label(SOURCE_K8S, CLUSTER, cluster),
    ]
    return Labels.of(found)
