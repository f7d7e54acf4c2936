"""The Kubernetes resources that Glasshive knows by name: discovery facts only, no schema and no behaviour.

A :class:`Resource` says how a kind is addressed (group, version, plural), how people call it (kind, singular, short
names) and what can be done with it (verbs, subresources). The embedded API server serves :data:`BUILTIN`; the client
addresses objects through the constants (``POD``, ``NODE`` ...). A custom resource is a `Resource` too, made by
:meth:`Resource.of_crd` from a CustomResourceDefinition.

Source: the Kubernetes API reference (names, verbs and categories are facts of that interface).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_STATUS_VERBS = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of an object with an address of its own, such as ``pods/log``.

    ``group``, ``version`` and ``kind`` name the body's type; empty group and version mean the parent's.
    """

    name: str
    kind: str
    verbs: tuple[str, ...] = _STATUS_VERBS
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """How one kind of object is addressed and what the API offers for it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    singular: str = ""
    list_kind: str = ""
    verbs: tuple[str, ...] = ALL_VERBS
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.singular:
            object.__setattr__(self, "singular", self.kind.lower())
        if not self.list_kind:
            object.__setattr__(self, "list_kind", self.kind + "List")

    @property
    def api_version(self) -> str:
        """``apiVersion`` as written in manifests: ``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """``pods`` or ``deployments.apps``, as error messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name, or None."""
        return next((sub for sub in self.subresources if sub.name == name), None)

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of a collection, an object or a subresource; each part is percent-encoded.

        Without a namespace a namespaced collection means all namespaces.
        """
        parts = ["/api" if not self.group else f"/apis/{self.group}", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)

    def object(self, name: str, namespace: str | None = None, **fields: Any) -> dict[str, Any]:
        """A new object of this kind with its type and name filled in; ``fields`` are its other top-level fields."""
        metadata: dict[str, Any] = {"name": name}
        if self.namespaced:
            metadata["namespace"] = namespace or "default"
        given = dict(fields)
        metadata.update(given.pop("metadata", {}))
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata, **given}

    @classmethod
    def of_crd(cls, crd: dict[str, Any], version: str | None = None) -> Resource:
        """The resource that a CustomResourceDefinition defines, in ``version`` (default: the storage version)."""
        spec = crd["spec"]
        names = spec["names"]
        chosen = next(v for v in spec["versions"] if (v["name"] == version if version else v.get("storage")))
        subs = chosen.get("subresources") or {}
        offered = []
        if "status" in subs:
            offered.append(Subresource("status", names["kind"]))
        if "scale" in subs:
            offered.append(Subresource("scale", "Scale", group="autoscaling", version="v1"))
        return cls(
            group=spec["group"],
            version=chosen["name"],
            plural=names["plural"],
            kind=names["kind"],
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            singular=names.get("singular") or names["kind"].lower(),
            list_kind=names.get("listKind") or names["kind"] + "List",
            categories=tuple(names.get("categories") or ()),
            subresources=tuple(offered),
        )


def _status(kind: str) -> Subresource:
    return Subresource("status", kind)


_SCALE = Subresource("scale", "Scale", group="autoscaling", version="v1")
_ALL = ("all",)


def _core(
    plural: str, kind: str, short: tuple[str, ...] = (), *, namespaced: bool = True, status: bool = False, **more: Any
) -> Resource:
    subs = (*more.pop("subresources", ()), *((_status(kind),) if status else ()))
    return Resource("", "v1", plural, kind, namespaced, short, subresources=subs, **more)


def _v1(
    group: str,
    plural: str,
    kind: str,
    short: tuple[str, ...] = (),
    *,
    namespaced: bool = True,
    status: bool = False,
    scale: bool = False,
    **more: Any,
) -> Resource:
    subs = (*((_SCALE,) if scale else ()), *((_status(kind),) if status else ()))
    return Resource(group, "v1", plural, kind, namespaced, short, subresources=subs, **more)


# Core group.
BINDING = _core("bindings", "Binding", verbs=("create",))
CONFIG_MAP = _core("configmaps", "ConfigMap", ("cm",))
ENDPOINTS = _core("endpoints", "Endpoints", ("ep",), singular="endpoints", list_kind="EndpointsList")
EVENT = _core("events", "Event", ("ev",))
LIMIT_RANGE = _core("limitranges", "LimitRange", ("limits",))
NAMESPACE = _core(
    "namespaces",
    "Namespace",
    ("ns",),
    namespaced=False,
    status=True,
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(Subresource("finalize", "Namespace", ("update",)),),
)
NODE = _core("nodes", "Node", ("no",), namespaced=False, status=True)
PERSISTENT_VOLUME_CLAIM = _core("persistentvolumeclaims", "PersistentVolumeClaim", ("pvc",), status=True)
PERSISTENT_VOLUME = _core("persistentvolumes", "PersistentVolume", ("pv",), namespaced=False, status=True)
POD = _core(
    "pods",
    "Pod",
    ("po",),
    status=True,
    categories=_ALL,
    subresources=(
        Subresource("attach", "PodAttachOptions", ("create", "get")),
        Subresource("binding", "Binding", ("create",)),
        Subresource("ephemeralcontainers", "Pod"),
        Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
        Subresource("exec", "PodExecOptions", ("create", "get")),
        Subresource("log", "Pod", ("get",)),
        Subresource("portforward", "PodPortForwardOptions", ("create", "get")),
    ),
)
POD_TEMPLATE = _core("podtemplates", "PodTemplate")
REPLICATION_CONTROLLER = _core(
    "replicationcontrollers", "ReplicationController", ("rc",), status=True, categories=_ALL, subresources=(_SCALE,)
)
RESOURCE_QUOTA = _core("resourcequotas", "ResourceQuota", ("quota",), status=True)
SECRET = _core("secrets", "Secret")
SERVICE_ACCOUNT = _core(
    "serviceaccounts",
    "ServiceAccount",
    ("sa",),
    subresources=(Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),),
)
SERVICE = _core("services", "Service", ("svc",), status=True, categories=_ALL)

# apps, batch, autoscaling, policy.
CONTROLLER_REVISION = _v1("apps", "controllerrevisions", "ControllerRevision")
DAEMON_SET = _v1("apps", "daemonsets", "DaemonSet", ("ds",), status=True, categories=_ALL)
DEPLOYMENT = _v1("apps", "deployments", "Deployment", ("deploy",), status=True, scale=True, categories=_ALL)
REPLICA_SET = _v1("apps", "replicasets", "ReplicaSet", ("rs",), status=True, scale=True, categories=_ALL)
STATEFUL_SET = _v1("apps", "statefulsets", "StatefulSet", ("sts",), status=True, scale=True, categories=_ALL)
CRON_JOB = _v1("batch", "cronjobs", "CronJob", ("cj",), status=True, categories=_ALL)
JOB = _v1("batch", "jobs", "Job", status=True, categories=_ALL)
HORIZONTAL_POD_AUTOSCALER = Resource(
    "autoscaling",
    "v2",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    True,
    ("hpa",),
    categories=_ALL,
    subresources=(_status("HorizontalPodAutoscaler"),),
)
POD_DISRUPTION_BUDGET = _v1("policy", "poddisruptionbudgets", "PodDisruptionBudget", ("pdb",), status=True)

# Coordination, discovery, networking, events.
LEASE = _v1("coordination.k8s.io", "leases", "Lease")
ENDPOINT_SLICE = _v1("discovery.k8s.io", "endpointslices", "EndpointSlice")
NETWORK_POLICY = _v1("networking.k8s.io", "networkpolicies", "NetworkPolicy", ("netpol",))
INGRESS = _v1("networking.k8s.io", "ingresses", "Ingress", ("ing",), status=True)
INGRESS_CLASS = _v1("networking.k8s.io", "ingressclasses", "IngressClass", namespaced=False)
EVENT_V1 = _v1("events.k8s.io", "events", "Event", ("ev",))

# Stored facts about access, scheduling and storage: kept and served, acted on by nobody yet.
ROLE = _v1("rbac.authorization.k8s.io", "roles", "Role")
ROLE_BINDING = _v1("rbac.authorization.k8s.io", "rolebindings", "RoleBinding")
CLUSTER_ROLE = _v1("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDING = _v1("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
PRIORITY_CLASS = _v1("scheduling.k8s.io", "priorityclasses", "PriorityClass", ("pc",), namespaced=False)
RUNTIME_CLASS = _v1("node.k8s.io", "runtimeclasses", "RuntimeClass", namespaced=False)
STORAGE_CLASS = _v1("storage.k8s.io", "storageclasses", "StorageClass", ("sc",), namespaced=False)

CUSTOM_RESOURCE_DEFINITION = _v1(
    "apiextensions.k8s.io",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    ("crd", "crds"),
    namespaced=False,
    status=True,
    categories=("api-extensions",),
)

# Questions that are answered at once and never stored.
SELF_SUBJECT_REVIEW = _v1(
    "authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", namespaced=False, verbs=("create",)
)
TOKEN_REVIEW = _v1("authentication.k8s.io", "tokenreviews", "TokenReview", namespaced=False, verbs=("create",))
SELF_SUBJECT_ACCESS_REVIEW = _v1(
    "authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False, verbs=("create",)
)
SELF_SUBJECT_RULES_REVIEW = _v1(
    "authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", namespaced=False, verbs=("create",)
)
SUBJECT_ACCESS_REVIEW = _v1(
    "authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", namespaced=False, verbs=("create",)
)

#: Every built-in, in the order in which discovery lists groups.
BUILTIN: tuple[Resource, ...] = (
    BINDING, CONFIG_MAP, ENDPOINTS, EVENT, LIMIT_RANGE, NAMESPACE, NODE, PERSISTENT_VOLUME_CLAIM, PERSISTENT_VOLUME,
    POD, POD_TEMPLATE, REPLICATION_CONTROLLER, RESOURCE_QUOTA, SECRET, SERVICE_ACCOUNT, SERVICE,
    EVENT_V1,
    SELF_SUBJECT_REVIEW, TOKEN_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_RULES_REVIEW, SUBJECT_ACCESS_REVIEW,
    CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, REPLICA_SET, STATEFUL_SET,
    HORIZONTAL_POD_AUTOSCALER,
    CRON_JOB, JOB,
    INGRESS_CLASS, INGRESS, NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    CLUSTER_ROLE_BINDING, CLUSTER_ROLE, ROLE_BINDING, ROLE,
    STORAGE_CLASS,
    CUSTOM_RESOURCE_DEFINITION,
    PRIORITY_CLASS,
    LEASE,
    RUNTIME_CLASS,
    ENDPOINT_SLICE,
)  # fmt: skip


def by_kind(kind: str, api_version: str | None = None) -> Resource | None:
    """The built-in of that kind (and ``apiVersion``, when given), or None; the core group wins a tie."""
    return next((r for r in BUILTIN if r.kind == kind and api_version in {None, r.api_version}), None)
