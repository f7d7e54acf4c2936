"""AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy -> ordered rules."""

from __future__ import annotations

import pytest

from glasshive.api.policies import parse
from glasshive.api.policy_reading import Lookups
from glasshive.model.address import Prefix
from glasshive.model.policy import Action, Tier
from policy_objects import admin_policy, cluster_policy, errors, matches_text, read, rules, warnings

HEAD = "priority: 10\nsubject: {namespaces: {}}\n"
POD_CIDRS = (Prefix.parse("10.244.0.0/16"), Prefix.parse("172.30.0.11/32"))
INSIDE = Lookups(cluster_prefixes=POD_CIDRS)
DUAL = Lookups(cluster_prefixes=(*POD_CIDRS, Prefix.parse("fd00::/48")))
PEERS = [
    ("namespaces: {}", "ns"),
    ("namespaces: {matchLabels: {team: a}}", "ns nslabel:team=a"),
    ("pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}", "k8s:app=web ns"),
    ("pods: {podSelector: {matchLabels: {app: web}}}", "k8s:app=web ns"),
    ("pods: {namespaceSelector: {matchLabels: {team: a}}, podSelector: {}}", "ns nslabel:team=a"),
]
PORTS = [
    ("ports: [{portNumber: {protocol: TCP, port: 80}}]", "tcp/80"),
    ("ports: [{portNumber: {port: 80}}]", "tcp/80"),
    ("ports: [{portRange: {protocol: UDP, start: 1, end: 9}}]", "udp/1-9"),
    ("ports: [{namedPort: http}]", "any/http"),
    ("ports: []", "*"),
]
PROTOCOLS = [
    ("protocols: [{tcp: {destinationPort: {number: 80}}}]", "tcp/80"),
    ("protocols: [{udp: {destinationPort: {range: {start: 1, end: 9}}}}, {destinationNamedPort: a}]", "udp/1-9 any/a"),
]  # fmt: skip


@pytest.mark.parametrize(("peer", "expected"), PEERS)
def test_peers_and_subjects(peer, expected):
    policy = admin_policy(f"{HEAD}ingress: [{{action: Deny, from: [{{{peer}}}]}}]")
    assert rules(policy) == [f"ingress[0] deny {expected} : *"]
    spec = f"priority: 1\nsubject: {{{peer}}}\negress: [{{action: Pass, to: [namespaces: {{}}]}}]"
    (rule,) = read(admin_policy(spec)).policy.rules
    assert matches_text(rule.subject.matches) == expected
    assert (rule.action, rule.tier, rule.priority) == (Action.PASS, Tier.ADMIN, 1)


@pytest.mark.parametrize(("ports", "expected"), PORTS)
def test_ports(ports, expected):
    policy = admin_policy(f"{HEAD}egress: [{{action: Allow, to: [namespaces: {{}}], {ports}}}]")
    assert rules(policy) == [f"egress[0] allow ns : {expected}"]


@pytest.mark.parametrize(("protocols", "expected"), PROTOCOLS)
def test_protocols(protocols, expected):
    policy = cluster_policy(f"tier: Admin\n{HEAD}egress: [{{action: Accept, to: [namespaces: {{}}], {protocols}}}]")
    assert rules(policy) == [f"egress[0] allow ns : {expected}"]


def test_rules_keep_their_order_and_name():
    policy = admin_policy(f"""{HEAD}
ingress:
- {{name: first, action: Allow, from: [namespaces: {{}}]}}
- {{action: Pass, from: [namespaces: {{}}]}}
""")
    found = read(policy).policy
    assert [(rule.order, rule.origin.label, rule.priority) for rule in found.rules] == [(0, "first", 10), (1, "", 10)]
    assert str(found.rules[0].origin) == "AdminNetworkPolicy anp, ingress[0] (first)"
    assert found.default_denies == ()


def test_baseline():
    policy = admin_policy("subject: {namespaces: {}}\ningress: [{action: Deny, from: [namespaces: {}]}]",
                          "BaselineAdminNetworkPolicy")  # fmt: skip
    (rule,) = read(policy).policy.rules
    assert (rule.tier, rule.priority) == (Tier.BASELINE, 0)
    policy["metadata"]["name"] = "other"
    assert errors(policy) == ["metadata.name: there is one BaselineAdminNetworkPolicy, and its name is default"]


def test_tiers_of_cluster_network_policy():
    body = f"{HEAD}ingress: [{{action: Pass, from: [namespaces: {{}}]}}]"
    (admin,) = read(cluster_policy(f"tier: Admin\n{body}")).policy.rules
    (baseline,) = read(cluster_policy(f"tier: Baseline\n{body}")).policy.rules
    assert (admin.tier, admin.action) == (Tier.ADMIN, Action.PASS)
    # Behind the Baseline tier is nothing that could refuse, so that passing is allowing.
    assert (baseline.tier, baseline.action) == (Tier.BASELINE, Action.ALLOW)


CLOSED = [("Allow", "allow nobody : tcp/80"), ("Deny", "deny * : *"), ("Pass", "deny * : *")]


@pytest.mark.parametrize(("action", "expected"), CLOSED)
@pytest.mark.parametrize("peer", ["{}", "{externalNetworks: {}}"])
def test_a_peer_that_nobody_knows_fails_closed(action, expected, peer):
    ports = "ports: [portNumber: {port: 80}]"
    policy = admin_policy(f"{HEAD}ingress: [{{action: {action}, from: [{{namespaces: {{}}}}, {peer}], {ports}}}]")
    assert rules(policy) == [f"ingress[0] {expected}"]
    assert "fails closed" in warnings(policy)[0]
    (found,) = parse(policy, file="a.yaml").policy.findings
    assert (found.severity, found.path) == ("error", "spec.ingress[0].from[1]")


NETWORKS = [
    # (action, networks, lookups, rules or the beginning of the error, warnings)
    ("Allow", "192.0.2.0/24", INSIDE, "allow 192.0.2.0/24 : *", 0),
    ("Deny", "192.0.2.0/24", INSIDE, "deny 192.0.2.0/24 : *", 0),
    ("Allow", "10.0.0.0/8", INSIDE, "allow 10.0.0.0/8 : *", 1),
    ("Deny", "10.0.0.0/8", INSIDE, "error a deny rule for 10.0.0.0/8, which holds addresses of the cluster", 0),
    ("Pass", "10.244.1.0/24", INSIDE, "error a pass rule for 10.244.1.0/24, which holds addresses of the cluster", 0),
    ("Deny", "10.0.0.0/8", Lookups(), "deny 10.0.0.0/8 : *", 1),
    ("Deny", "0.0.0.0/0, '::/0'", DUAL, "deny * : *", 0),
    ("Deny", "0.0.0.0/0", INSIDE, "deny * : *", 0),
    ("Deny", "0.0.0.0/0", DUAL, "error a deny rule for 0.0.0.0/0", 0),
]


@pytest.mark.parametrize(("action", "networks", "lookups", "expected", "count"), NETWORKS)
def test_networks_are_honoured_where_identities_can_tell(action, networks, lookups, expected, count):
    policy = admin_policy(f"{HEAD}egress: [{{action: {action}, to: [networks: [{networks}]]}}]")
    found = read(policy, lookups)
    if expected.startswith("error "):
        assert found.policy.findings[0].message.startswith(expected.removeprefix("error "))
        assert not found.policy.rules
        return
    assert rules(policy, lookups) == [f"egress[0] {expected}"]
    assert len(found.policy.findings) == count


def test_nodes():
    everywhere = admin_policy(f"{HEAD}egress: [{{action: Deny, to: [nodes: {{}}]}}]")
    assert rules(everywhere) == ["egress[0] deny reserved:host | reserved:remote-node : *"]
    some = "{nodes: {matchLabels: {role: edge}}}"
    allow = admin_policy(f"{HEAD}egress: [{{action: Allow, to: [{some}, namespaces: {{}}]}}]")
    assert rules(allow) == ["egress[0] allow ns : *", "egress[0] allow nobody : * needs nodes"]
    (error,) = errors(admin_policy(f"{HEAD}egress: [{{action: Deny, to: [{some}]}}]"))
    assert error.startswith("spec.egress[0].to[0].nodes: a deny rule for some nodes cannot be enforced")


def test_domain_names():
    policy = cluster_policy(f"tier: Admin\n{HEAD}egress: [{{action: Accept, to: [domainNames: ['*.example.com']]}}]")
    assert rules(policy) == ["egress[0] allow nobody : * needs fqdn"]
    policy["spec"]["egress"][0]["action"] = "Deny"
    assert errors(policy) == ["spec.egress[0].to[0].domainNames: domain names are for Accept (Allow) rules only"]


WRONG = [
    ("subject: {namespaces: {}}", "spec: priority is missing: 0 to 1000; lower ones are asked first"),
    ("priority: -1\nsubject: {namespaces: {}}", "spec.priority: priority -1 is out of range (0 to 1000)"),
    ("priority: 1", "spec: subject is missing: The pods that the policy is for: one of namespaces and pods"),
    ("priority: 1\nsubject: {}", "spec.subject: must have namespaces or pods"),
    (
        "priority: 1\nsubject: {namespaces: {}, pods: {podSelector: {}}}",
        "spec.subject: only one of namespaces, pods may be set, found namespaces, pods",
    ),
    (
        f"{HEAD}ingress: [{{action: Accept, from: [namespaces: {{}}]}}]",
        "spec.ingress[0].action: unsupported action",
    ),
    (f"{HEAD}ingress: [{{action: Deny, from: []}}]", "spec.ingress[0].from: must have at least 1 item"),
    (f"{HEAD}ingress: [{{action: Deny}}]", "spec.ingress[0]: from is missing"),
    (
        f"{HEAD}ingress: [{{action: Deny, from: [networks: [10.0.0.0/8]]}}]",
        None,
    ),
    (
        f"{HEAD}egress: [{{action: Deny, to: [networks: [10.0.0.1]]}}]",
        "spec.egress[0].to[0].networks[0]: unable to parse CIDR: '10.0.0.1' has no length",
    ),
    (
        f"{HEAD}egress: [{{action: Allow, to: [nodes: {{}}], ports: [namedPort: http]}}]",
        "spec.egress[0].ports: named ports cannot be used with nodes: they have none",
    ),
    (
        f"{HEAD}egress: [{{action: Allow, to: [namespaces: {{}}], ports: [portRange: {{start: 9, end: 8}}]}}]",
        "spec.egress[0].ports[0].portRange.end: endPort 8 is less than port 9",
    ),
    (
        f"{HEAD}egress: [{{action: Allow, to: [namespaces: {{}}], ports: [portNumber: {{port: 0}}]}}]",
        "spec.egress[0].ports[0].portNumber.port: port 0 is out of range (1 to 65535)",
    ),
    (
        f"{HEAD}egress: [{', '.join(['{action: Deny, to: [namespaces: {}]}'] * 101)}]",
        "spec.egress: too many rules, the max is 100 (found 101)",
    ),
]


@pytest.mark.parametrize(("spec", "expected"), WRONG, ids=[(row[1] or "closed")[:50] for row in WRONG])
def test_refused(spec, expected):
    found = errors(admin_policy(spec))
    if expected is None:
        assert found == [], "a peer that this place does not have fails closed"
        return
    assert found[0].startswith(expected), found


def test_cluster_network_policy_has_lower_limits():
    rule = "{action: Deny, to: [namespaces: {}]}"
    assert errors(cluster_policy(f"tier: Admin\n{HEAD}egress: [{', '.join([rule] * 26)}]")) == [
        "spec.egress: too many rules, the max is 25 (found 26)"
    ]
    assert errors(cluster_policy(f"tier: Normal\n{HEAD}"))[0].startswith("spec.tier: unsupported tier: Normal")
