"""Policy definitions on the API server, and kubectl with them: apply, explain, get, what is refused at the door."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import kubectl_server
from glasshive.api import crds
from glasshive.api.policies import KINDS, POLICY_RESOURCES, parse
from glasshive.api.policy_status import status_of
from kube_server import APPLY, MERGE, TABLE, Http, run

pytestmark = pytest.mark.skipif(not kubectl_server.PROGRAM.exists(), reason="kubectl is not installed beside Python")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CNPS = "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies"
NETPOLS = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
ANPS = "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies"
MANIFESTS = (Path(__file__).parent / "policies" / "accepted.yaml").read_text(encoding="utf-8")


async def define(http: Http) -> None:
    await asyncio.gather(*(_create(http, crd) for crd in crds()))


async def _create(http: Http, crd: dict) -> None:
    (await http("POST", CRDS, crd)).ok()


def test_every_kind_is_defined_with_its_schema(tmp_path):
    async def test(http: Http) -> None:
        await define(http)
        for kind in KINDS.values():
            one = kind.resource
            (await http("GET", one.path("default"))).ok()
            if one.group != "networking.k8s.io":
                crd = (await http("GET", f"{CRDS}/{one.plural}.{one.group}")).ok()
                assert crd["spec"]["names"].get("shortNames", []) == list(one.short_names)
                assert {c["type"]: c["status"] for c in crd["status"]["conditions"]}["Established"] == "True"
                assert "x-word" not in str(crd)

    run(tmp_path, test)


def test_all_sorts_are_accepted_and_read(tmp_path):
    async def test(http: Http) -> None:
        await define(http)
        for obj in yaml.safe_load_all(MANIFESTS):
            kind = KINDS[obj["apiVersion"], obj["kind"]].resource
            stored = (await http("POST", kind.path("default"), obj, fieldValidation="Strict")).ok()
            parsed = parse(stored)
            assert parsed.valid, (obj["metadata"]["name"], parsed.policy.findings)
            assert bool(parsed.policy.rules) == (kind in POLICY_RESOURCES)
            path = kind.path("default", obj["metadata"]["name"])
            applied = yaml.safe_dump(obj).encode()
            (await http("PATCH", path, applied, APPLY, fieldManager="test", force="true")).ok()

    run(tmp_path, test)


REFUSED = [
    (CNPS, {"endpointSelector": {}, "ingress": [{"fromEntities": ["wrold"]}]}, 'Unsupported value: "wrold"'),
    (CNPS, {"endpointSelector": {}, "ingress": {}}, "must be of type array"),
    (CNPS, {"endpointSelector": {}, "ingress": [{"toPorts": [{"ports": [{"port": 80}]}]}]}, "must be of type string"),
    (CNPS, {"endpointSelectr": {}}, 'unknown field "spec.endpointSelectr"'),
    (
        CNPS,
        {"endpointSelector": {}, "ingress": [{"toPorts": [{"ports": [{"port": "1"}] * 41}]}]},
        "Too many: 41: must have at most 40 items",
    ),
    (NETPOLS, {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}]}, "must be a valid CIDR value"),
    (NETPOLS, {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/255.0.0.0"}}]}]}, "must be a valid CIDR value"),
    (ANPS, {"priority": 1001, "subject": {"namespaces": {}}}, "should be less than or equal to 1000"),
    (ANPS, {"priority": 1, "subject": {}}, "should have at least 1 properties"),
    (ANPS, {"subject": {"namespaces": {}}}, "spec.priority: Required value"),
]


@pytest.mark.parametrize(("path", "spec", "words"), REFUSED)
def test_refused_at_the_door(tmp_path, path, spec, words):
    async def test(http: Http) -> None:
        await define(http)
        answer = await http("POST", path, {"metadata": {"name": "a"}, "spec": spec}, fieldValidation="Strict")
        assert answer.code in (400, 422)
        assert words in answer.body["message"]

    run(tmp_path, test)


def test_conditions_are_a_status_of_their_own(tmp_path):
    async def test(http: Http) -> None:
        await define(http)
        spec = {"endpointSelector": {}, "ingress": [{"fromRequires": [{}]}]}
        stored = (await http("POST", CNPS, {"metadata": {"name": "a"}, "spec": spec})).ok()
        parsed = parse(stored)
        body = {"status": status_of(stored, parsed.policy.findings, now="2026-11-28T00:00:00Z")}
        got = (await http("PATCH", f"{CNPS}/a/status", body, MERGE)).ok()
        assert got["metadata"]["generation"] == 1
        assert got["status"]["conditions"][0]["message"].startswith("spec.ingress[0].fromRequires: fromRequires is not")
        table = (await http("GET", CNPS, headers=TABLE)).ok()
        assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Age", "Valid", "Enforceable"]
        assert table["rows"][0]["cells"][2:] == ["False", "False"]

    run(tmp_path, test)


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kubectl_server.Kubectl]:
    with kubectl_server.serving(tmp_path_factory.mktemp("policies")) as kubectl:
        kubectl("apply", "-f", "-", given=yaml.safe_dump_all(crds()))
        kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=20s")
        kubectl("api-resources")  # forgets what it knew of the server before
        yield kubectl


EXPLAINED = [
    ("cnp", ["DESCRIPTION:\n    Who may talk to pods of one namespace", "Group and version that"]),
    ("ccnp", ["DESCRIPTION:\n    The same as CiliumNetworkPolicy"]),
    ("ccg", ["DESCRIPTION:\n    Blocks of addresses outside"]),
    ("anp", ["DESCRIPTION:\n    What the cluster's administrator decides", "before NetworkPolicy"]),
    ("banp", ["DESCRIPTION:\n    What the cluster's administrator decides", "name is default"]),
    ("clusternetworkpolicy", ["DESCRIPTION:\n    What the cluster's administrator decides", "in the tier Admin"]),
    ("ciliumidentity", ["DESCRIPTION:\n    Labels that decide"]),
    ("cep", ["DESCRIPTION:\n    A pod as its node's agent knows it"]),
    ("ciliumnode", ["DESCRIPTION:\n    What a node's agent tells"]),
    ("lbippool", ["DESCRIPTION:\n    Addresses that Services"]),
    ("l2announcement", ["DESCRIPTION:\n    Which nodes answer"]),
    ("clrp", ["DESCRIPTION:\n    Sends what goes to an address"]),
    ("cnp.spec.ingress", ["fromEndpoints", "<[]Object>", "everything else is", "toPorts"]),
    ("cnp.spec.egress.toPorts.ports.port", ["<string>", "every port"]),
    ("ccnp.spec.nodeSelector", ["host firewall", "matchExpressions"]),
    ("ccg.spec.externalCIDRs", ["<[]string>", "outside of the cluster"]),
    ("anp.spec.priority", ["<integer>", "lower ones are asked first"]),
    ("banp.spec.ingress.action", ["ENUM:\n    Allow\n    Deny\n", "What is done."]),
    ("clusternetworkpolicy.spec.tier", ["ENUM:\n    Admin\n    Baseline\n", "<string>"]),
]


@pytest.mark.parametrize(("path", "words"), EXPLAINED)
def test_explain(kubectl, path, words):
    told = kubectl("explain", path)
    assert [word for word in words if word not in told] == [], told


def test_kubectl_applies_and_lists_them(kubectl):
    count = len(list(yaml.safe_load_all(MANIFESTS)))
    told = kubectl("apply", "-f", "-", given=MANIFESTS)
    assert told.count("created") == count, told
    assert kubectl("apply", "-f", "-", given=MANIFESTS).count("unchanged") == count
    assert kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=MANIFESTS).count("applied") == count
    assert kubectl("get", "cnp").splitlines()[0].split() == ["NAME", "AGE", "VALID"]
    assert "PRIORITY" in kubectl("get", "anp")
    assert "TIER" in kubectl("get", "clusternetworkpolicies")
    both = kubectl("get", "ciliumpolicy")
    assert "ciliumnetworkpolicy.cilium.io/" in both
    assert "ciliumclusterwidenetworkpolicy.cilium.io/" in both
    assert "office" in kubectl("get", "ciliumcidrgroups.v2alpha1.cilium.io")


def test_kubectl_says_what_is_unknown(kubectl):
    body = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: x}\nspec: {ingres: []}\n"
    assert 'unknown field "spec.ingres"' in kubectl("apply", "-f", "-", given=body, code=1)
