"""Warnings about rules that can never decide, and the conditions of an object's status."""

from __future__ import annotations

import pytest

from glasshive.api.policy_lint import lint, selecting_nobody
from glasshive.api.policy_status import form_in_force, status_of
from glasshive.model.labels import Labels
from glasshive.model.policy import Finding
from policy_objects import admin_policy, cilium_policy, network_policy, read

HEAD = "priority: 10\nsubject: {namespaces: {}}\n"
PODS = "pods: {podSelector: {matchLabels: {app: web}}}"


def found(obj, identities=None):
    parsed = read(obj)
    assert parsed.valid, parsed.policy.findings
    if identities is None:
        return [f"{one.path}: {one.message}" for one in lint(parsed.policy)]

    def exists(peer):
        return any(peer.selects(labels) for labels in identities)

    return [f"{one.path}: {one.message}" for one in selecting_nobody(parsed.policy, exists)]


DENIED = [
    # (allow, deny, whether nothing is left of the allow)
    ("fromEndpoints: [{matchLabels: {app: a}}]", "fromEndpoints: [{}]", True),
    ("fromEndpoints: [{matchLabels: {app: a}}]", "fromEndpoints: [{matchLabels: {app: a}}]", True),
    ("fromEndpoints: [{matchLabels: {app: a, b: c}}]", "fromEndpoints: [{matchLabels: {app: a}}]", True),
    ("fromEndpoints: [{matchLabels: {app: a}}]", "fromEndpoints: [{matchLabels: {app: a, b: c}}]", False),
    ("fromEndpoints: [{matchLabels: {app: a}}]", "fromEndpoints: [{matchLabels: {app: b}}]", False),
    (
        "fromEndpoints: [{matchLabels: {'k8s:app': a}}]",
        "fromEndpoints: [{matchExpressions: [{key: app, operator: In, values: [a, b]}]}]",
        True,
    ),
    (
        "fromEndpoints: [{matchLabels: {app: a}}]",
        "fromEndpoints: [{matchExpressions: [{key: 'k8s:app', operator: In, values: [a, b]}]}]",
        False,
    ),
    (
        "fromEndpoints: [{matchLabels: {'k8s:app': a}}]",
        "fromEndpoints: [{matchExpressions: [{key: 'k8s:app', operator: NotIn, values: [b]}]}]",
        True,
    ),
    ("fromEntities: [host]", "fromEntities: [all]", True),
    ("fromEntities: [world]", "fromEntities: [host]", False),
    ("fromCIDR: [10.1.0.0/16]", "fromCIDR: [10.0.0.0/8]", True),
    ("fromCIDR: [10.1.0.0/16]", "fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.2.0.0/16]}]", True),
    ("fromCIDR: [10.1.0.0/16]", "fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.2.0/24]}]", False),
    ("fromCIDR: [10.1.0.0/16]", "fromEntities: [world]", True),
    ("fromCIDR: ['2001:db8::/32']", "fromCIDR: [0.0.0.0/0]", False),
    ("fromEntities: [host], toPorts: [{ports: [{port: '80'}]}]", "fromEntities: [host]", True),
    ("fromEntities: [host]", "fromEntities: [host], toPorts: [{ports: [{port: '80'}]}]", False),
    (
        "fromEntities: [host], toPorts: [{ports: [{port: '80', protocol: TCP}]}]",
        "toPorts: [{ports: [{port: '70', endPort: 90}]}]",
        True,
    ),
    (
        "fromEntities: [host], toPorts: [{ports: [{port: '80'}]}]",
        "toPorts: [{ports: [{port: '80', protocol: TCP}]}]",
        False,
    ),
    (
        "toPorts: [{ports: [{port: http, protocol: TCP}]}]",
        "toPorts: [{ports: [{port: '0', protocol: TCP}]}]",
        True,
    ),
    ("icmps: [{fields: [{type: 8}]}]", "toPorts: [{ports: [{port: '8'}]}]", False),
]


@pytest.mark.parametrize(("allow", "deny", "covered"), DENIED)
def test_allows_that_a_deny_refuses_whole(allow, deny, covered):
    policy = cilium_policy(f"endpointSelector: {{}}\ningress: [{{{allow}}}]\ningressDeny: [{{{deny}}}]")
    expected = "spec.ingress[0]: can never allow anything: spec.ingressDeny[0] refuses all of it, and deny wins"
    assert found(policy) == ([expected] if covered else [])


def test_a_deny_of_the_other_direction_or_another_spec_is_none():
    policy = cilium_policy({"endpointSelector": {}, "ingress": [{"fromEntities": ["host"]}]})
    policy["specs"] = [{"endpointSelector": {"matchLabels": {"a": "b"}}, "ingressDeny": [{"fromEntities": ["all"]}]}]
    policy["spec"]["egressDeny"] = [{"toEntities": ["host"]}]
    assert found(policy) == []


def test_doubles():
    policy = network_policy("ingress: [{ports: [{port: 80}]}, {ports: [{port: 81}]}, {ports: [{port: 80}]}]")
    assert found(policy) == ["spec.ingress[2]: says the same as spec.ingress[0]"]


def test_rules_behind_one_that_matches_all_they_match():
    policy = admin_policy(f"""{HEAD}
ingress:
- {{name: pods, action: Allow, from: [{PODS}], ports: [portNumber: {{port: 80}}]}}
- {{name: rest, action: Deny, from: [namespaces: {{}}]}}
- {{action: Allow, from: [{PODS}]}}
egress:
- {{action: Allow, to: [{PODS}]}}
""")
    assert found(policy) == ["spec.ingress[2]: never decides: spec.ingress[1] (rest) comes first and matches all of it"]


NAMED = "[{port: web, protocol: TCP}, {port: '81', protocol: TCP}]"


@pytest.mark.parametrize(
    ("section", "peers", "warned"),
    [
        ("egress", "toCIDR: [192.0.2.0/24]", True),
        ("egress", "toEntities: [world]", True),
        ("egressDeny", "toCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.1/32]}]", True),
        ("egress", "toEntities: [world, cluster]", False),
        ("egress", "toEndpoints: [{}]", False),
        ("ingress", "fromCIDR: [192.0.2.0/24]", False),
    ],
)
def test_names_of_ports_that_nobody_has(section, peers, warned):
    policy = cilium_policy(f"endpointSelector: {{}}\n{section}: [{{{peers}, toPorts: [{{ports: {NAMED}}}]}}]")
    told = f'spec.{section}[0]: no address outside of the cluster has a port named "web": write its number'
    assert found(policy) == ([told] if warned else [])


def test_selectors_of_nothing():
    identities = [
        Labels.of(["k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"]),
        Labels.of(["k8s:app=api", "k8s:io.kubernetes.pod.namespace=other"]),
        Labels.of(["reserved:host"]),
    ]
    policy = cilium_policy("""
        endpointSelector: {matchLabels: {app: web}}
        ingress: [{fromEndpoints: [{matchLabels: {app: api}}, {}]}, {fromEntities: [host, world, ingress]}]
    """)
    assert found(policy) == []
    assert found(policy, identities) == [
        "spec.ingress[0]: the peer app=api, k8s:io.kubernetes.pod.namespace=shop is nobody that exists now",
        "spec.ingress[1]: the peer reserved:ingress is nobody that exists now",
    ]
    nobody = network_policy("podSelector: {matchLabels: {app: none}}\ningress: []")
    assert found(nobody, identities) == [
        "spec: selects no endpoint that exists now: it is without effect until one does"
    ]


NOW, THEN = "2026-11-28T00:00:00Z", "2026-11-27T00:00:00Z"
ERROR = Finding("error", "spec.ingress[0]", "is wrong")
WARNING = Finding("warning", "spec.ingress[1]", "is odd")


def status(findings=(), rules=(), conditions=(), **before):
    obj = {"metadata": {"generation": 3}, "status": {"conditions": [*conditions], **before}}
    return status_of(obj, findings, rules, now=NOW)


def conditions(*args, **more):
    return {one["type"]: one for one in status(*args, **more)["conditions"]}


def test_a_valid_object():
    got = conditions()
    assert got["Valid"]["status"] == got["Enforceable"]["status"] == "True"
    assert got["Valid"]["message"] == "Policy validation succeeded"
    assert got["Valid"]["observedGeneration"] == 3
    assert status()["enforcedGeneration"] == status(enforcedGeneration=1)["enforcedGeneration"] == 3


def test_warnings_and_errors_are_in_the_message():
    assert conditions([WARNING])["Valid"]["message"] == "Policy validation succeeded; spec.ingress[1]: is odd"
    wrong = conditions([WARNING, ERROR])
    assert (wrong["Valid"]["status"], wrong["Valid"]["reason"]) == ("False", "InvalidPolicy")
    assert wrong["Valid"]["message"] == "spec.ingress[0]: is wrong (nothing of it is enforced)"
    assert wrong["Enforceable"]["status"] == "False"
    assert status([ERROR])["enforcedGeneration"] is None
    assert len(conditions([ERROR] * 9000)["Valid"]["message"]) < 2000
    assert "and 8995 more" in conditions([ERROR] * 9000)["Valid"]["message"]


@pytest.mark.parametrize("before", [2, 1])
def test_the_last_valid_generation_stays_in_force(before):
    got = status([ERROR], enforcedGeneration=before)
    assert got["enforcedGeneration"] == before
    assert got["conditions"][0]["message"] == f"spec.ingress[0]: is wrong (generation {before} stays enforced)"
    assert status([ERROR], enforcedGeneration="2")["enforcedGeneration"] is None, "what a file says of itself"


def test_the_form_in_force_is_in_the_status_while_the_object_says_something_else():
    old, broken = cilium_policy("endpointSelector: {}\ningress: [{}]"), cilium_policy("endpointSelector: {}")
    old["metadata"]["generation"], broken["metadata"]["generation"] = 2, 3
    broken["status"] = status_of(old, [], now=NOW, last_valid=old)
    assert broken["status"]["enforcedForm"] is None
    assert form_in_force(broken) is None, "the operator has not told it yet"
    broken["status"] = status_of(broken, [ERROR], now=NOW, last_valid=old)
    assert broken["status"]["enforcedForm"] == {"spec": old["spec"]}
    assert form_in_force(broken)["spec"] == old["spec"]
    # An operator that has started since knows no other form than that.
    assert status_of(broken, [ERROR], now=NOW) == broken["status"]
    assert status_of(broken, [], now=NOW)["enforcedForm"] is None


def test_an_object_that_has_not_changed_is_its_own_form_in_force():
    same = cilium_policy("endpointSelector: {}\ningress: [{}]")
    same["metadata"]["generation"] = 2
    assert form_in_force(same) is None, "it has never been valid"
    same["status"] = status_of({**same, "status": {"enforcedGeneration": 2}}, [ERROR], now=NOW, last_valid=same)
    assert same["status"]["enforcedForm"] is None
    assert form_in_force(same) is same


def test_what_is_not_enforced_is_named():
    policy = read(cilium_policy("endpointSelector: {}\negress: [toFQDNs: [{matchName: a.example}]]")).policy
    got = conditions(policy.findings, policy.rules)
    assert got["Valid"]["status"] == "True"
    assert (got["Enforceable"]["status"], got["Enforceable"]["reason"]) == ("False", "PartsNotSupported")
    assert "peers by DNS name" in got["Enforceable"]["message"]
    assert got["Enforceable"]["message"].endswith("What these rules would allow stays refused")


def test_times_change_with_the_status_only_and_foreign_conditions_stay():
    got = conditions(conditions=[
        {"type": "Valid", "status": "True", "lastTransitionTime": THEN},
        {"type": "Enforceable", "status": "False", "lastTransitionTime": THEN},
        {"type": "Foreign", "status": "True"},
    ])  # fmt: skip
    assert got["Valid"]["lastTransitionTime"] == THEN
    assert got["Enforceable"]["lastTransitionTime"] == NOW
    assert got["Foreign"] == {"type": "Foreign", "status": "True"}
