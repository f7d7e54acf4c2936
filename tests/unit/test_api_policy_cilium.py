"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy -> rules."""

from __future__ import annotations

import pytest

from glasshive.api.policy_reading import CidrGroupFacts, Lookups, ServiceFacts, Use
from glasshive.model.address import Prefix
from glasshive.model.policy import SubjectKind
from policy_objects import cilium_policy, clusterwide_policy, matches_text, read, rules, warnings

WORLD = "reserved:world | reserved:world-ipv4 | reserved:world-ipv6"
CLUSTER = (
    "reserved:host | reserved:remote-node | reserved:init | reserved:ingress | reserved:health | reserved:unmanaged | "
    "reserved:kube-apiserver | k8s:io.cilium.k8s.policy.cluster=bees"
)
INGRESS = [
    # Peers and their namespace.
    ("fromEndpoints: [{}]", "ns=shop : *"),
    ("fromEndpoints: [{matchLabels: {app: web}}]", "app=web ns=shop : *"),
    ("fromEndpoints: [{matchLabels: {'k8s:app': web, 'any:tier': x}}]", "k8s:app=web tier=x ns=shop : *"),
    ("fromEndpoints: [{matchLabels: {'k8s:io.kubernetes.pod.namespace': kube-system}}]", "ns=kube-system : *"),
    ("fromEndpoints: [{matchLabels: {io.kubernetes.pod.namespace: a}}]", "io.kubernetes.pod.namespace=a : *"),
    (
        "fromEndpoints: [{matchExpressions: [{key: 'k8s:io.kubernetes.pod.namespace', operator: Exists}]}]",
        "ns : *",
    ),
    ("fromEndpoints: [{matchLabels: {'k8s:io.cilium.k8s.namespace.labels.team': a}}]", "nslabel:team=a : *"),
    ("fromEndpoints: [{matchLabels: {'reserved:host': ''}}]", "reserved:host= : *"),
    ("fromEndpoints: [{matchExpressions: [{key: a, operator: NotIn, values: [x]}]}]", "a!=x ns=shop : *"),
    ("fromEndpoints: []", "nobody : *"),
    ("fromEndpoints: []\n    toPorts: [{ports: [{port: '80'}]}]", "nobody : any/80"),
    ("fromEntities: [host, remote-node]", "reserved:host | reserved:remote-node : *"),
    ("fromEntities: [world]", f"{WORLD} : *"),
    ("fromEntities: [cluster]", f"{CLUSTER} : *"),
    ("fromEntities: [host, all]", "* : *"),
    ("fromEntities: [none]", "reserved:none : *"),
    ("fromCIDR: [10.0.0.0/8, 192.0.2.1, '2001:db8::/32']", "10.0.0.0/8 | 192.0.2.1/32 | 2001:db8::/32 : *"),
    ("fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]", "10.0.0.0/8 -10.1.0.0/16 : *"),
    ("fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}]", "nobody : *"),
    ("fromGroups: [{aws: {}}]", "nobody : * needs groups"),
    # Ports.
    ("toPorts: [{ports: [{port: '80', protocol: TCP}]}]", "* : tcp/80"),
    ("toPorts: [{ports: [{port: '80'}, {port: '80', protocol: ANY}]}]", "* : any/80"),
    ("toPorts: [{ports: [{port: '80', endPort: 90, protocol: udp}]}]", None),
    ("toPorts: [{ports: [{port: '80', endPort: 90, protocol: UDP}]}]", "* : udp/80-90"),
    ("toPorts: [{ports: [{port: '80', endPort: 0, protocol: SCTP}]}]", "* : sctp/80"),
    ("toPorts: [{ports: [{port: HTTP, protocol: TCP}, {port: dns-1}]}]", "* : tcp/http any/dns-1"),
    ("toPorts: [{ports: [{port: '0', protocol: TCP}]}]", "* : tcp"),
    ("toPorts: [{ports: [{port: '0'}]}]", "* : *"),
    ("toPorts: [{ports: [{port: '0', protocol: ICMP}, {port: '0', protocol: ICMPv6}]}]", "* : icmp icmpv6"),
    ("toPorts: [{ports: [{port: '1'}]}, {ports: [{port: '2'}]}]", "* : any/1 any/2"),
    ("toPorts: [{ports: [{port: '0', protocol: VRRP}]}]", "* : vrrp needs extended-protocols"),
    ("toPorts: [{}]", "* : nothing"),
    ("toPorts: []\n    fromEntities: [host]", "reserved:host : *"),
    ("icmps: [{fields: [{type: 8}, {type: EchoReply}]}]", "* : icmp/8 icmp/0"),
    ("icmps: [{fields: [{family: IPv6, type: EchoRequest}]}, {fields: [{type: '3'}]}]", "* : icmpv6/128 icmp/3"),
    # What a proxy would do.
    ("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{path: /a}]}}]", "* : tcp/80 needs l7"),
    ("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {}}]", "* : tcp/80"),
    ("toPorts: [{ports: [{port: '80', protocol: TCP}], serverNames: [a.example]}]", "* : tcp/80 needs sni"),
    ("fromEntities: [host]\n    authentication: {mode: required}", "reserved:host : * needs authentication"),
    ("fromEntities: [host]\n    authentication: {mode: disabled}", "reserved:host : *"),
]


@pytest.mark.parametrize(("rule", "expected"), INGRESS, ids=[row[0] for row in INGRESS])
def test_one_rule(rule, expected):
    policy = cilium_policy(f"endpointSelector: {{}}\ningress:\n  - {rule}")
    if expected is None:
        assert not read(policy).valid
        return
    assert rules(policy, cluster="bees") == [f"ingress[0] allow {expected}"]
    assert [one.direction for one in read(policy).policy.default_denies] == ["ingress"]


def test_the_same_in_the_other_direction_and_as_deny():
    for section, word in (("egress", "to"), ("egressDeny", "to"), ("ingressDeny", "from")):
        policy = cilium_policy(f"endpointSelector: {{}}\n{section}: [{{{word}Entities: [world]}}]")
        action = "deny" if section.endswith("Deny") else "allow"
        assert rules(policy) == [f"{section}[0] {action} {WORLD} : *"]
        assert [one.direction for one in read(policy).policy.default_denies] == [section.removesuffix("Deny")]


def test_a_rule_is_split_where_only_a_part_needs_a_proxy():
    policy = cilium_policy("""
        endpointSelector: {}
        ingress:
        - toPorts:
          - ports: [{port: "80", protocol: TCP}]
            rules: {http: [{method: GET}]}
          - ports: [{port: "443", protocol: TCP}]
    """)
    assert rules(policy) == ["ingress[0] allow * : tcp/80 needs l7", "ingress[0] allow * : tcp/443"]


def test_names_need_a_dns_proxy():
    spec = """
        endpointSelector: {}
        egress:
        - toFQDNs: [{matchName: example.com}, {matchPattern: "*.example.com"}]
          toPorts: [{ports: [{port: "443", protocol: TCP}]}]
        - toEntities: [kube-apiserver]
          toPorts: [{ports: [{port: "53"}], rules: {dns: [{matchPattern: "*"}]}}]
    """
    assert rules(cilium_policy(spec)) == [
        "egress[0] allow nobody : tcp/443 needs fqdn",
        "egress[1] allow reserved:kube-apiserver : any/53 needs l7",
    ]


def test_parts_that_need_a_proxy_are_named_where_they_are():
    policy = cilium_policy("""
        endpointSelector: {}
        egress:
        - toFQDNs: [{matchName: example.com}]
        - toPorts:
          - ports: [{port: "80", protocol: TCP}]
            rules: {http: [{}]}
          - ports: [{port: "443", protocol: TCP}]
            serverNames: [a.example]
            originatingTLS: {secret: {name: a}}
          authentication: {mode: required}
    """)
    found = warnings(policy)
    assert [one.partition(": ")[0] for one in found] == [
        "spec.egress[0].toFQDNs",
        "spec.egress[1].toPorts[0].rules",
        "spec.egress[1].toPorts[1].serverNames",
        "spec.egress[1].toPorts[1].originatingTLS",
        "spec.egress[1].authentication",
    ]
    assert all("not enforced here" in one and "stays refused" in one for one in found)


DEFAULT_DENY = [
    ("ingress: [{}]", "ingress"),
    ("egress: [{}]\ningress: []", "egress"),
    ("ingressDeny: [{fromEntities: [world]}]", "ingress"),
    ("ingress: [{fromEntities: [host]}]\nenableDefaultDeny: {ingress: false}", ""),
    ("ingress: [{fromEntities: [host]}]\nenableDefaultDeny: {egress: true}", "ingress egress"),
    ("enableDefaultDeny: {egress: true}", "egress"),
    ("egressDeny: [{toEntities: [world]}]\nenableDefaultDeny: {egress: false, ingress: false}", ""),
]


@pytest.mark.parametrize(("spec", "expected"), DEFAULT_DENY)
def test_default_deny(spec, expected):
    found = read(cilium_policy(f"endpointSelector: {{}}\n{spec}"))
    assert found.valid
    assert " ".join(one.direction for one in found.policy.default_denies) == expected


def test_the_empty_rule_allows_nothing():
    assert rules(cilium_policy("endpointSelector: {}\ningress: [{}]")) == []
    deny = cilium_policy("endpointSelector: {}\ningressDeny: [{}]")
    assert rules(deny) == []
    assert warnings(deny) == ["spec.ingressDeny[0]: denies nothing: it names neither peers nor ports"]


def subject(obj):
    (found,) = {rule.subject for rule in read(obj).policy.rules}
    return f"{found.kind} {matches_text(found.matches)}"


def test_subjects():
    rule = "ingress: [{fromEntities: [host]}]"
    assert subject(cilium_policy(f"endpointSelector: {{matchLabels: {{app: a}}}}\n{rule}")) == "endpoint app=a ns=shop"
    assert subject(clusterwide_policy(f"endpointSelector: {{}}\n{rule}")) == "endpoint {}"
    nodes = clusterwide_policy(f"nodeSelector: {{matchLabels: {{role: edge}}}}\n{rule}")
    assert subject(nodes) == "node role=edge"
    assert read(nodes).policy.default_denies[0].subject.kind is SubjectKind.NODE


def test_a_policy_selects_in_its_namespace_only():
    where = "endpointSelector: {matchLabels: {'k8s:io.kubernetes.pod.namespace': other}}"
    policy = cilium_policy(f"{where}\ningress: [{{fromEntities: [host]}}]")
    assert subject(policy) == "endpoint ns=shop"
    (warning,) = warnings(policy)
    assert warning.startswith("spec.endpointSelector: names namespace other, but CiliumNetworkPolicy objects select in")


CLUSTERWIDE = [
    ("fromEndpoints: [{}]", "ns"),
    ("fromEndpoints: [{matchLabels: {app: web}}]", "app=web ns"),
    ("fromEndpoints: [{matchExpressions: [{key: a, operator: DoesNotExist}]}]", "!a ns"),
    ("fromEndpoints: [{matchLabels: {'k8s:io.kubernetes.pod.namespace': a}}]", "ns=a"),
    ("fromEndpoints: [{matchLabels: {'k8s:io.cilium.k8s.namespace.labels.t': a}}]", "nslabel:t=a ns"),
    ("fromEndpoints: [{matchLabels: {'reserved:health': ''}}]", "reserved:health="),
]


@pytest.mark.parametrize(("rule", "expected"), CLUSTERWIDE)
def test_peers_of_a_policy_for_the_whole_cluster_are_pods_too(rule, expected):
    policy = clusterwide_policy(f"endpointSelector: {{}}\ningress: [{{{rule}}}]")
    assert rules(policy) == [f"ingress[0] allow {expected} : *"]


def test_initializing_endpoints_have_no_namespace():
    policy = clusterwide_policy(
        "endpointSelector: {matchLabels: {'reserved:init': ''}}\ningress: [fromEndpoints: [{}]]"
    )
    assert rules(policy) == ["ingress[0] allow {} : *"]


def test_several_specs():
    policy = cilium_policy({"endpointSelector": {}, "ingress": [{"fromEntities": ["host"]}], "description": "why"})
    policy["specs"] = [
        {"endpointSelector": {}, "egress": [{"toEntities": ["world"]}]},
        {"endpointSelector": {}, "egress": [{"toEntities": ["host"]}]},
    ]
    found = read(policy).policy
    assert [str(rule.origin).partition(", ")[2] for rule in found.rules] == [
        "ingress[0]", "specs[0].egress[0]", "specs[1].egress[0]",
    ]  # fmt: skip
    assert found.description == "why"


GROUPS = Lookups(
    services={
        ("shop", "api"): ServiceFacts({"app": "api"}, {"app": "api"}),
        ("shop", "legacy"): ServiceFacts({"app": "legacy"}, None, (Prefix.parse("192.0.2.7"),)),
        ("other", "api"): ServiceFacts({"app": "api"}, {"role": "x"}),
    },
    cidr_groups={
        "office": CidrGroupFacts({"kind": "trusted"}, (Prefix.parse("10.1.0.0/16"), Prefix.parse("2001:db8::/64"))),
        "vpn": CidrGroupFacts({"kind": "trusted"}, (Prefix.parse("10.2.0.0/16"),)),
    },
)
LOOKUPS = [
    (
        "toCIDRSet: [{cidrGroupRef: office, except: [10.1.1.0/24]}]",
        "10.1.0.0/16 -10.1.1.0/24 | 2001:db8::/64",
        Use("CiliumCIDRGroup", "", "office"),
    ),
    (
        "toCIDRSet: [{cidrGroupSelector: {matchLabels: {kind: trusted}}}]",
        "10.1.0.0/16 | 2001:db8::/64 | 10.2.0.0/16",
        Use("CiliumCIDRGroup", "", "*"),
    ),
    ("toServices: [{k8sService: {serviceName: api}}]", "k8s:app=api ns=shop", Use("Service", "shop", "api")),
    (
        "toServices: [{k8sService: {serviceName: api, namespace: other}}]",
        "k8s:role=x ns=other",
        Use("Service", "other", "api"),
    ),
    ("toServices: [{k8sService: {serviceName: legacy}}]", "192.0.2.7/32", Use("Service", "shop", "legacy")),
    (
        "toServices: [{k8sServiceSelector: {selector: {matchLabels: {app: api}}}}]",
        "k8s:role=x ns=other | k8s:app=api ns=shop",
        Use("Service", "", "*"),
    ),
    ("toServices: [{k8sService: {serviceName: nope}}]", "nobody", Use("Service", "shop", "nope")),
    ("toCIDRSet: [{cidrGroupRef: nope}]", "nobody", Use("CiliumCIDRGroup", "", "nope")),
]


@pytest.mark.parametrize(("rule", "expected", "use"), LOOKUPS, ids=[row[0] for row in LOOKUPS])
def test_what_is_looked_up_and_said_to_be(rule, expected, use):
    policy = cilium_policy(f"endpointSelector: {{}}\negress: [{{{rule}}}]")
    assert rules(policy, GROUPS) == [f"egress[0] allow {expected} : *"]
    assert read(policy, GROUPS).uses == {use}
    assert bool(read(policy, GROUPS).policy.findings) == (expected == "nobody")


def test_uses_concern_the_right_objects():
    assert Use("Service", "shop", "api").concerns("Service", "shop", "api")
    assert not Use("Service", "shop", "api").concerns("Service", "shop", "web")
    assert Use("Service", "", "*").concerns("Service", "any", "web")
    assert not Use("Service", "shop", "*").concerns("Service", "other", "web")
    assert not Use("Service", "", "*").concerns("CiliumCIDRGroup", "", "web")


def test_nodes_by_label_only_when_the_option_is_on():
    policy = cilium_policy("endpointSelector: {}\ningress: [{fromNodes: [{matchLabels: {role: edge}}]}]")
    assert not read(policy).valid
    assert rules(policy, node_selectors=True) == ["ingress[0] allow node:role=edge reserved:remote-node : *"]


def test_host_firewall_protocols_when_the_option_is_on():
    policy = clusterwide_policy("nodeSelector: {}\ningress: [toPorts: [{ports: [{port: '0', protocol: IGMP}]}]]")
    assert rules(policy) == ["ingress[0] allow * : igmp needs extended-protocols"]
    assert rules(policy, extended_protocols=True) == ["ingress[0] allow * : igmp"]
