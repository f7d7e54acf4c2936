"""How lists and maps of built-in kinds merge: the facts that the client's models do not carry.

Three tables, by ``Type.field`` (or ``Type`` for values that are replaced as a whole). Source: the ``listType``,
``listMapKey``, ``mapType``, ``patchMergeKey`` and ``patchStrategy`` markers of the Kubernetes API reference.
"""

from __future__ import annotations

#: Lists whose items are told apart by keys (server-side apply). "" as the only key: a set of plain values.
LIST_KEYS: dict[str, tuple[str, ...]] = {
    "V1ObjectMeta.ownerReferences": ("uid",),
    "V1ObjectMeta.finalizers": ("",),
    "V1PodSpec.volumes": ("name",),
    "V1PodSpec.initContainers": ("name",),
    "V1PodSpec.containers": ("name",),
    "V1PodSpec.ephemeralContainers": ("name",),
    "V1PodSpec.imagePullSecrets": ("name",),
    "V1PodSpec.hostAliases": ("ip",),
    "V1PodSpec.topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "V1PodSpec.schedulingGates": ("name",),
    "V1PodSpec.resourceClaims": ("name",),
    "V1PodStatus.conditions": ("type",),
    "V1PodStatus.podIPs": ("ip",),
    "V1PodStatus.resourceClaimStatuses": ("name",),
    "V1ResourceRequirements.claims": ("name",),
    "V1ServiceSpec.ports": ("port", "protocol"),
    "V1ServiceStatus.conditions": ("type",),
    "V1ServiceAccount.secrets": ("name",),
    "V1NodeSpec.podCIDRs": ("",),
    "V1NodeStatus.conditions": ("type",),
    "V1NodeStatus.addresses": ("type",),
    "V1NamespaceStatus.conditions": ("type",),
    "V1PersistentVolumeClaimStatus.conditions": ("type",),
    "V1ReplicationControllerStatus.conditions": ("type",),
    "V1ReplicaSetStatus.conditions": ("type",),
    "V1DeploymentStatus.conditions": ("type",),
    "V1DaemonSetStatus.conditions": ("type",),
    "V1StatefulSetStatus.conditions": ("type",),
    "V1PodDisruptionBudgetStatus.conditions": ("type",),
    "V1CustomResourceDefinitionStatus.conditions": ("type",),
    "V2HorizontalPodAutoscalerStatus.conditions": ("type",),
    "V1PodFailurePolicyOnExitCodesRequirement.values": ("",),
}
for _container in ("V1Container", "V1EphemeralContainer"):
    LIST_KEYS |= {
        f"{_container}.ports": ("containerPort", "protocol"),
        f"{_container}.env": ("name",),
        f"{_container}.volumeMounts": ("mountPath",),
        f"{_container}.volumeDevices": ("devicePath",),
    }

#: Keys of list items that default when they are left out, so that an item without them can still be told apart.
KEY_DEFAULTS: dict[str, str] = {"protocol": "TCP"}

#: Lists that a strategic merge patch merges; by this key of their items, or "" for plain values.
MERGE_KEYS: dict[str, str] = {
    **{field: keys[0] for field, keys in LIST_KEYS.items()},
    "V1Container.ports": "containerPort",
    "V1EphemeralContainer.ports": "containerPort",
    "V1ServiceSpec.ports": "port",
    "V1PodStatus.hostIPs": "ip",
    "V1JobStatus.conditions": "type",
    "V1ContainerStatus.allocatedResourcesStatus": "name",
    "V1ContainerStatus.volumeMounts": "mountPath",
    "V1JobSchedulingConfiguration.resourceClaims": "name",
    "V1NodeAllocatableResourceClaimStatus.mapping": "name",
    "V1NodeAllocatableResourceClaimStatus.overhead": "name",
    "V1PodSpec.evictionResponders": "name",
    "V1PodStatus.nodeAllocatableResourceClaimStatuses": "resourceClaimName",
    "V1PodVolumeHealth.healthConditions": "status",
    "V1VolumeHealthStatus.healthConditions": "status",
}
del MERGE_KEYS["V1ResourceRequirements.claims"]
del MERGE_KEYS["V1PodFailurePolicyOnExitCodesRequirement.values"]
del MERGE_KEYS["V1CustomResourceDefinitionStatus.conditions"]

#: Types, and maps, that are replaced as a whole by server-side apply.
ATOMIC = frozenset({
    "V1LabelSelector", "V1NodeSelector", "V1NodeSelectorTerm", "V1ObjectReference", "V1LocalObjectReference",
    "V1SecretReference", "V1ConfigMapKeySelector", "V1SecretKeySelector", "V1ObjectFieldSelector",
    "V1ResourceFieldSelector", "V1TypedLocalObjectReference", "V1OwnerReference", "V1TopologySelectorTerm", "V1RoleRef",
    "RbacV1Subject", "V1EndpointAddress", "CoreV1EndpointPort", "DiscoveryV1EndpointPort", "V1ScopeSelector",
    "V1ScopedResourceSelectorRequirement", "V1FileKeySelector",
    "V1PodSpec.nodeSelector", "V1ServiceSpec.selector", "V1ReplicationControllerSpec.selector",
    "V1CSIPersistentVolumeSource.volumeAttributes",
})  # fmt: skip
