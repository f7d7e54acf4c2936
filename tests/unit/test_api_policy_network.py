"""NetworkPolicy -> rules: every corner of its semantics, and what is refused."""

from __future__ import annotations

import pytest

from policy_objects import errors, matches_text, network_policy, read, rules, warnings

RULES = [
    ("one selector", "from: [{podSelector: {matchLabels: {app: web}}}]", "k8s:app=web ns=shop : *"),
    ("all pods of the namespace", "from: [{podSelector: {}}]", "ns=shop : *"),
    ("all namespaces", "from: [{namespaceSelector: {}}]", "ns : *"),
    ("a namespace by label", "from: [{namespaceSelector: {matchLabels: {team: a}}}]", "ns nslabel:team=a : *"),
    (
        "both selectors in one element",
        "from: [{podSelector: {matchLabels: {app: web}}, namespaceSelector: {matchLabels: {team: a}}}]",
        "k8s:app=web ns nslabel:team=a : *",
    ),
    (
        "both selectors in two elements",
        "from: [{podSelector: {matchLabels: {app: web}}}, {namespaceSelector: {matchLabels: {team: a}}}]",
        "k8s:app=web ns=shop | ns nslabel:team=a : *",
    ),
    (
        "expressions",
        (
            "from: [{podSelector: {matchExpressions: [{key: a, operator: In, values: [x, y]}, {key: b, operator: NotIn,"
            " values: [z]}, {key: c, operator: Exists}, {key: d, operator: DoesNotExist}]}}]"
        ),
        "k8s:a=x,y k8s:b!=z k8s:c !k8s:d ns=shop : *",
    ),
    (
        "a block of addresses",
        "from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}}]",
        "10.0.0.0/8 -10.1.0.0/16 -10.2.0.0/16 : *",
    ),
    ("the same peer twice", "from: [{podSelector: {}}, {podSelector: {}}]", "ns=shop : *"),
    ("everybody", "{}", "* : *"),
    ("empty from", "from: []", "* : *"),
    ("null from", "from: null", "* : *"),
    ("empty ports", "ports: []", "* : *"),
    ("a port", "ports: [{port: 80}]", "* : tcp/80"),
    ("a range", "ports: [{port: 80, endPort: 90, protocol: UDP}]", "* : udp/80-90"),
    ("a range of one", "ports: [{port: 80, endPort: 80}]", "* : tcp/80"),
    ("a protocol", "ports: [{protocol: SCTP}]", "* : sctp"),
    ("the default protocol", "ports: [{}]", "* : tcp"),
    ("a named port", "ports: [{port: http}, {port: dns, protocol: UDP}]", "* : tcp/http udp/dns"),
]


@pytest.mark.parametrize(("_what", "rule", "expected"), RULES, ids=[row[0] for row in RULES])
def test_one_rule(_what, rule, expected):
    spec = f"podSelector: {{}}\ningress:\n- {rule}"
    assert rules(network_policy(spec)) == [f"ingress[0] allow {expected}"]
    egress = f"podSelector: {{}}\npolicyTypes: [Egress]\negress:\n- {rule.replace('from:', 'to:')}"
    assert rules(network_policy(egress)) == [f"egress[0] allow {expected}"]


DIRECTIONS = [
    ("podSelector: {}", "ingress"),
    ("{}", "ingress"),
    ("ingress: []", "ingress"),
    ("egress: []", "ingress"),
    ("egress: [{}]", "ingress egress"),
    ("ingress: [{}]\negress: [{}]", "ingress egress"),
    ("policyTypes: [Egress]", "egress"),
    ("policyTypes: [Egress, Ingress]", "ingress egress"),
    ("policyTypes: []\negress: [{}]", "ingress egress"),
    ("policyTypes: [Ingress]", "ingress"),
]


@pytest.mark.parametrize(("spec", "expected"), DIRECTIONS)
def test_which_directions_are_under_default_deny(spec, expected):
    denies = read(network_policy(spec)).policy.default_denies
    assert " ".join(one.direction for one in denies) == expected
    assert all(matches_text(one.subject.matches) == "ns=shop" for one in denies)


def test_rules_of_a_direction_that_is_not_named_count_for_nothing():
    policy = network_policy("policyTypes: [Egress]\ningress: [{}]")
    assert rules(policy) == []
    assert warnings(policy) == [
        "spec.ingress: is without effect: policyTypes does not list Ingress, so the policy leaves ingress as it is"
    ]


def test_subject():
    policy = network_policy("podSelector: {matchLabels: {app: web}}\ningress: [{}]", namespace="other")
    (rule,) = read(policy).policy.rules
    assert matches_text(rule.subject.matches) == "k8s:app=web ns=other"
    assert str(rule.origin) == "NetworkPolicy other/np, ingress[0]"


WRONG = [
    ("podSelectr: {}", "spec.podSelectr: unknown field 'podSelectr': did you mean podSelector?"),
    ("ingress: {}", "spec.ingress: must be a list, is an object: begin the item with a dash"),
    ("policyTypes: [ingress]", "spec.policyTypes[0]: unsupported policy type: ingress; did you mean Ingress?"),
    ("ingress: [{from: [{}]}]", "spec.ingress[0].from[0]: must specify a peer: podSelector, namespaceSelector or"),
    (
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]",
        "spec.ingress[0].from[0]: may not specify both ipBlock and another peer",
    ),
    (
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]",
        "spec.ingress[0].from[0].ipBlock.cidr: unable to parse CIDR: '10.0.0.0/33' is not a CIDR",
    ),
    (
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]",
        "spec.ingress[0].from[0].ipBlock.except[0]: allow CIDR prefix 10.0.0.0/8 does not contain exclude CIDR prefix",
    ),
    (
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]",
        "spec.ingress[0].from[0].ipBlock.except: leaves nothing of 10.0.0.0/8",
    ),
    (
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.1}}]}]",
        "spec.ingress[0].from[0].ipBlock.cidr: unable to parse CIDR: '10.0.0.1' has no length, write 10.0.0.1/32",
    ),
    ("ingress: [{ports: [{port: 0}]}]", "spec.ingress[0].ports[0].port: port 0 is out of range (1 to 65535)"),
    ("ingress: [{ports: [{port: 65536}]}]", "spec.ingress[0].ports[0].port: port 65536 is out of range"),
    ('ingress: [{ports: [{port: "80"}]}]', "spec.ingress[0].ports[0].port: '80' is not the name of a port: write it"),
    ("ingress: [{ports: [{port: 9, endPort: 8}]}]", "spec.ingress[0].ports[0].endPort: endPort 8 is less than port 9"),
    ("ingress: [{ports: [{endPort: 8}]}]", "spec.ingress[0].ports[0].endPort: needs a port to begin at"),
    ("ingress: [{ports: [{port: a, endPort: 8}]}]", "spec.ingress[0].ports[0].endPort: a named port takes no endPort"),
    ("ingress: [{ports: [{protocol: ICMP}]}]", "spec.ingress[0].ports[0].protocol: unsupported protocol: ICMP"),
    ("podSelector: {matchLabels: {a: 1}}", 'spec.podSelector.matchLabels[a]: must be text, is a number: write "1" in'),
    (
        "podSelector: {matchExpressions: [{key: a, operator: In}]}",
        "spec.podSelector.matchExpressions[0]: In needs values",
    ),
    (
        "podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
        "spec.podSelector.matchExpressions[0].values: Exists takes no values",
    ),
    ("podSelector: {matchLabels: {-a: b}}", "spec.podSelector.matchLabels[-a]: is not a label key"),
    ("podSelector: {matchLabels: {a: -b}}", "spec.podSelector.matchLabels[a]: '-b' is not a label value"),
]


@pytest.mark.parametrize(("spec", "expected"), WRONG, ids=[row[0] for row in WRONG])
def test_refused(spec, expected):
    (error,) = errors(network_policy(spec))
    assert error.startswith(expected)
