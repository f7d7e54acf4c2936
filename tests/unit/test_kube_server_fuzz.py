"""Nothing that a client sends makes the server answer 500 or anything but a Status, an object or a list."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from glasshive.api.resources import BUILTIN
from kube_server import MERGE, TABLE, Http, pod, run, serving

#: Examples per kind; raise it for a longer hunt.
EXAMPLES = int(os.environ.get("GLASSHIVE_FUZZ_EXAMPLES", "8"))
_WORDS = [
    "a",
    "default",
    "name",
    "metadata",
    "spec",
    "status",
    "labels",
    "containers",
    "ports",
    "template",
    "selector",
    "matchLabels",
    "finalizers",
    "ownerReferences",
    "annotations",
    "kind",
    "apiVersion",
    "data",
    "replicas",
    "names",
    "plural",
    "group",
    "versions",
    "clusterIP",
    "clusterIPs",
    "10.96.0.9",
    "None",
    "strategy",
    "rollingUpdate",
    "$patch",
    "$setElementOrder/containers",
    "kubernetes",
    "-1",
    "items",
    "target",
    "deleteOptions",
    "jobTemplate",
    "podSelector",
    "ingress",
    "from",
    "ipBlock",
    "cidr",
    "env",
    "valueFrom",
    "volumes",
    "resources",
    "limits",
    "subsets",
    "endpoints",
    "addresses",
    "addressType",
    "conditions",
    "type",
    "managedFields",
    "uid",
    "subjects",
    "roleRef",
    "schedule",
    "matchExpressions",
    "key",
    "operator",
    "In",
    "ipFamilies",
    "IPv6",
    "gracePeriodSeconds",
    "preconditions",
    "schema",
    "openAPIV3Schema",
    "properties",
    "scope",
    "served",
    "storage",
]
TEXT = st.sampled_from([*_WORDS, "\x00", "é"]) | st.text(max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=5),
    max_leaves=25,
)
OBJECTS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just("a")}, optional={"labels": JSON, "finalizers": JSON, "annotations": JSON}
        )
    },
    optional={
        name: st.dictionaries(TEXT, JSON, max_size=5) for name in ("spec", "status", "data", "roleRef", "webhooks")
    }
    | {"subsets": JSON, "endpoints": JSON, "addressType": TEXT, "rules": JSON, "subjects": JSON},
)
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "text/plain",
)
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            "limit",
            "continue",
            "resourceVersion",
            "resourceVersionMatch",
            "labelSelector",
            "fieldSelector",
            "dryRun",
            "fieldValidation",
            "fieldManager",
            "force",
            "gracePeriodSeconds",
            "propagationPolicy",
            "timeoutSeconds",
        ]
    ),
    st.sampled_from(
        [
            "0",
            "1",
            "true",
            "x",
            "All",
            "Exact",
            "NotOlderThan",
            "a=b",
            "a in (b)",
            "metadata.name=a",
            "Strict",
            "-5",
            "=",
        ]
    ),
    max_size=3,
)
OPERATIONS = st.lists(
    st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "remove", "replace", "test", "move", "copy"]),
            "path": st.lists(TEXT, max_size=3).map(lambda p: "/" + "/".join(p)),
        },
        optional={"value": JSON, "from": st.lists(TEXT, max_size=2).map(lambda p: "/" + "/".join(p))},
    ),
    max_size=3,
)


_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
_WORKLOAD = {"selector": {"matchLabels": {"a": "b"}}, "template": _TEMPLATE}
_JOB = {"template": {"spec": dict(_TEMPLATE["spec"], restartPolicy="Never")}}
#: Valid bodies, to be spoiled in one place.
SAMPLES: dict[str, dict] = {
    "pods": {"spec": dict(pod("x")["spec"], volumes=[{"name": "v", "emptyDir": {}}], tolerations=[{"key": "a"}])},
    "services": {
        "spec": {"ports": [{"port": 80, "targetPort": "x"}], "selector": {"a": "b"}, "clusterIPs": ["10.96.0.7"]}
    },
    "deployments.apps": {"spec": {**_WORKLOAD, "strategy": {"rollingUpdate": {"maxSurge": 1}}}},
    "replicasets.apps": {"spec": _WORKLOAD},
    "daemonsets.apps": {"spec": _WORKLOAD},
    "statefulsets.apps": {"spec": {**_WORKLOAD, "updateStrategy": {"rollingUpdate": {"partition": 1}}}},
    "jobs.batch": {"spec": _JOB},
    "cronjobs.batch": {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": _JOB}}},
    "networkpolicies.networking.k8s.io": {
        "spec": {
            "podSelector": {},
            "ingress": [
                {
                    "from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
                    "ports": [{"port": 1, "endPort": 2}],
                }
            ],
        }
    },
    "ingresses.networking.k8s.io": {
        "spec": {
            "rules": [
                {
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "s", "port": {"number": 1}}},
                            }
                        ]
                    }
                }
            ]
        }
    },
    "endpoints": {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}]}]},
    "endpointslices.discovery.k8s.io": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 1}],
    },
    "rolebindings.rbac.authorization.k8s.io": {
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}],
    },
    "customresourcedefinitions.apiextensions.k8s.io": {
        "spec": {
            "group": "x.y",
            "scope": "Namespaced",
            "names": {"plural": "as", "kind": "A"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"},
                    },
                    "additionalPrinterColumns": [{"name": "N", "type": "integer", "jsonPath": ".spec.n"}],
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}},
                }
            ],
        }
    },
    "secrets": {"data": {"a": "YQ=="}, "stringData": {"b": "c"}},
    "configmaps": {"data": {"a": "b"}, "immutable": True},
    "nodes": {"spec": {"podCIDRs": ["10.0.0.0/24"], "taints": [{"key": "a", "effect": "NoSchedule"}]}},
    "bindings": {"target": {"name": "n"}},
    "namespaces": {"spec": {"finalizers": ["kubernetes"]}},
}


def spoiled(data: st.DataObject, value: Any) -> Any:
    """``value`` with one place in it replaced."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 5)):
        key = data.draw(st.sampled_from(sorted(value)))
        return value | {key: spoiled(data, value[key])}
    if isinstance(value, list) and value and data.draw(st.integers(0, 5)):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], spoiled(data, value[at]), *value[at + 1 :]]
    return data.draw(JSON)


def body_of(data: st.DataObject, media: str, resource: Any) -> Any:
    if media == PATCHES[0]:
        return data.draw(st.one_of(OPERATIONS, JSON))
    sample = SAMPLES.get(resource.group_resource)
    if sample and data.draw(st.booleans()):
        body = sample | {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "a"}}
        return spoiled(data, body) if data.draw(st.booleans()) else body
    return data.draw(st.one_of(OBJECTS, JSON))


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """One server for all examples, on a loop that outlives each of them."""
    with asyncio.Runner() as runner:
        context = serving(tmp_path_factory.mktemp("fuzz"))
        http = runner.run(context.__aenter__())
        yield lambda *args, **query: runner.run(http(*args, **query))
        runner.run(context.__aexit__(None, None, None))


def judged(answer: Any, *asked: Any) -> Any:
    assert answer.code not in {500, 502}, (asked, answer.body)
    assert isinstance(answer.body, dict), (asked, answer.body)
    assert answer.body.get("kind"), (asked, answer.body)
    assert (answer.body["kind"] == "Status" and answer.body["status"] == "Failure") == (answer.code >= 400)
    return answer


@settings(max_examples=EXAMPLES, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("resource", BUILTIN, ids=lambda r: r.group_resource)
def test_no_request_breaks_the_server(ask: Callable[..., Any], resource: Any, data: st.DataObject) -> None:
    """Create, then replace, patch in all ways, read and delete with what hypothesis thinks of."""
    where, one = resource.path("default"), resource.path("default", "a")
    judged(ask("DELETE", one, gracePeriodSeconds=0))
    judged(ask("PATCH", one, {"metadata": {"finalizers": None}}, MERGE))
    judged(ask("POST", where, body_of(data, "", resource)))
    parts = ["", "", *(f"/{sub.name}" for sub in resource.subresources)]
    for _ in range(4):
        verb = data.draw(st.sampled_from(["POST", "PUT", "PUT", "PATCH", "PATCH", "PATCH", "GET", "DELETE"]))
        path = one + data.draw(st.sampled_from(parts))
        media = data.draw(st.sampled_from(PATCHES)) if verb == "PATCH" else "application/json"
        headers = {"Content-Type": media}
        if verb in {"GET", "DELETE"} and not data.draw(st.integers(0, 2)):
            path, headers = where, headers | TABLE
        body = None
        if verb == "PUT" and (now := ask("GET", path)).code == 200:
            body = spoiled(data, now.body)
        elif verb != "GET":
            body = body_of(data, media, resource)
        query = data.draw(QUERIES)
        judged(ask(verb, path, body, headers, **query), verb, path, body, query)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    path=st.lists(
        st.sampled_from(
            [
                "api",
                "apis",
                "v1",
                "namespaces",
                "default",
                "pods",
                "a",
                "log",
                "openapi",
                "v3",
                "%2F",
                "..",
                "",
                "apps",
                "healthz",
                "%00",
                "é",
            ]
        ),
        max_size=7,
    ),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]),
)
def test_no_address_breaks_the_server(ask: Callable[..., Any], path: list[str], method: str) -> None:
    answer = ask(method, "/" + "/".join(path))
    assert answer.code != 500, answer.body


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe", b"[" * 5000, b'{"a":' * 3000, b"null", b"1e999", b'{"metadata":{"name":"\xc3"}}']
)
def test_raw_bodies(tmp_path: Path, raw: bytes) -> None:
    async def test(http: Http) -> None:
        for method, path, media in (
            ("POST", "/api/v1/namespaces/default/configmaps", "application/json"),
            ("POST", "/api/v1/namespaces/default/configmaps", "application/yaml"),
            ("PATCH", "/api/v1/namespaces/default/services/kubernetes", "application/apply-patch+yaml"),
            ("PATCH", "/api/v1/namespaces/default/services/kubernetes", "application/strategic-merge-patch+json"),
        ):
            answer = await http(method, path, raw, {"Content-Type": media}, fieldManager="f")
            assert answer.code < 500, answer.body

    run(tmp_path, test)
