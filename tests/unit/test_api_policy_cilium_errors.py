"""What Cilium's policy kinds refuse: the texts that people know, each with the field it is about."""

from __future__ import annotations

import pytest

from policy_objects import cilium_policy, clusterwide_policy, errors

TCP80 = "ports: [{port: '80', protocol: TCP}]"
HTTP = "rules: {http: [{}]}"
DNS = "rules: {dns: [{matchPattern: '*'}]}"


def ingress(rule: str) -> str:
    return f"endpointSelector: {{}}\ningress: [{{{rule}}}]"


def egress(rule: str) -> str:
    return f"endpointSelector: {{}}\negress: [{{{rule}}}]"


WRONG = [
    # The rule as a whole.
    ("endpointSelector: {}", "spec: rule must have at least one of Ingress, IngressDeny, Egress, EgressDeny"),
    ("ingress: [{}]", "spec: rule must have one of EndpointSelector or NodeSelector"),
    (
        "endpointSelector: {}\nnodeSelector: {}\ningress: [{}]",
        "spec: rule cannot have both EndpointSelector and NodeSelector",
    ),
    ("nodeSelector: {}\ningress: [{}]", "spec.nodeSelector: rule cannot have NodeSelector"),
    (ingress("fromEndpoint: [{}]"), "spec.ingress[0].fromEndpoint: unknown field 'fromEndpoint': did you mean from"),
    (ingress("toEntities: [host]"), "spec.ingress[0].toEntities: unknown field 'toEntities': did you mean"),
    # Peers.
    (
        ingress("fromEndpoints: [{}], fromCIDR: [10.0.0.0/8]"),
        "spec.ingress[0].fromCIDR: combining FromEndpoints and FromCIDR is not supported yet",
    ),
    (ingress("fromEntities: [hots]"), "spec.ingress[0].fromEntities[0]: unsupported entity: hots; did you mean host?"),
    (ingress("fromEntities: [world-ipv4]"), "spec.ingress[0].fromEntities[0]: unsupported entity: world-ipv4"),
    (ingress("fromRequires: [{}]"), "spec.ingress[0].fromRequires: fromRequires is not enforced: it was deprecated"),
    (egress("toRequires: [{}]"), "spec.egress[0].toRequires: toRequires is not enforced: it was deprecated"),
    (
        ingress("fromNodes: [{}]"),
        (
            "spec.ingress[0].fromNodes: FromNodes/ToNodes rules can only be applied when the "
            '"enable-node-selector-labels" flag is set'
        ),
    ),
    (ingress("fromCIDR: [10.0.0.0/40]"), "spec.ingress[0].fromCIDR[0]: unable to parse CIDR: '10.0.0.0/40'"),
    (ingress("fromCIDR: [10.0.0.0/255.0.0.0]"), "spec.ingress[0].fromCIDR[0]: unable to parse CIDR"),
    (ingress("fromCIDR: ['::ffff:10.0.0.0/104']"), "spec.ingress[0].fromCIDR[0]: unable to parse CIDR"),
    (ingress("fromCIDR: ['']"), "spec.ingress[0].fromCIDR[0]: unable to parse CIDR: '' an IP must be specified"),
    (
        ingress("fromCIDRSet: [{}]"),
        "spec.ingress[0].fromCIDRSet[0]: one of cidr, cidrGroupRef, or cidrGroupSelector is",
    ),
    (
        ingress("fromCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: a}]"),
        "spec.ingress[0].fromCIDRSet[0]: one of cidr, cidrGroupRef, or cidrGroupSelector is required, found cidr and",
    ),
    (
        ingress("fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.0.0.0/4]}]"),
        "spec.ingress[0].fromCIDRSet[0].except[0]: allow CIDR prefix 10.0.0.0/8 does not contain exclude CIDR prefix",
    ),
    (
        ingress("fromCIDRSet: [{cidr: 10.0.0.0/8, except: ['2001:db8::/32']}]"),
        "spec.ingress[0].fromCIDRSet[0].except[0]: allow CIDR prefix 10.0.0.0/8 does not contain exclude CIDR prefix",
    ),
    (egress("toServices: [{}]"), "spec.egress[0].toServices[0]: needs either k8sService or k8sServiceSelector"),
    (egress("toServices: [{k8sService: {}}]"), "spec.egress[0].toServices[0].k8sService.serviceName: is missing"),
    (egress("toFQDNs: [{}]"), "spec.egress[0].toFQDNs[0]: needs either matchName or matchPattern"),
    (egress("toFQDNs: [{matchName: '*.a.b'}]"), "spec.egress[0].toFQDNs[0].matchName: '*.a.b' has a wildcard"),
    (egress("toFQDNs: [{matchName: 'a b'}]"), "spec.egress[0].toFQDNs[0].matchName: 'a b' is not a DNS name"),
    ("endpointSelector: {}\negressDeny: [{toFQDNs: []}]", "spec.egressDeny[0].toFQDNs: unknown field 'toFQDNs'"),
    # Ports.
    (
        ingress("toPorts: [{ports: [{port: 80}]}]"),
        "spec.ingress[0].toPorts[0].ports[0].port: must be text, is a number",
    ),
    (ingress("toPorts: [{ports: [{}]}]"), "spec.ingress[0].toPorts[0].ports[0]: port is missing"),
    (ingress("toPorts: [{ports: [{port: ''}]}]"), "spec.ingress[0].toPorts[0].ports[0].port: port must be specified"),
    (
        ingress("toPorts: [{ports: [{port: '65536'}]}]"),
        "spec.ingress[0].toPorts[0].ports[0].port: port 65536 is out of",
    ),
    (ingress("toPorts: [{ports: [{port: '080'}]}]"), "spec.ingress[0].toPorts[0].ports[0].port: port 080 is out of"),
    (ingress("toPorts: [{ports: [{port: a_b}]}]"), "spec.ingress[0].toPorts[0].ports[0].port: unable to parse port"),
    (
        ingress("toPorts: [{ports: [{port: '9', endPort: 8}]}]"),
        "spec.ingress[0].toPorts[0].ports[0].endPort: endPort 8 is less than port 9",
    ),
    (
        ingress("toPorts: [{ports: [{port: '9', endPort: 65536}]}]"),
        "spec.ingress[0].toPorts[0].ports[0].endPort: port 65536 is out of range (0 to 65535)",
    ),
    (
        ingress("toPorts: [{ports: [{port: http, endPort: 8}]}]"),
        "spec.ingress[0].toPorts[0].ports[0].endPort: a named port takes no endPort",
    ),
    (
        ingress("toPorts: [{ports: [{port: '0', endPort: 8}]}]"),
        'spec.ingress[0].toPorts[0].ports[0].endPort: port "0" is every port',
    ),
    (
        ingress("toPorts: [{ports: [{port: '80', protocol: TCPP}]}]"),
        "spec.ingress[0].toPorts[0].ports[0].protocol: unsupported protocol: TCPP; did you mean",
    ),
    (
        ingress("toPorts: [{ports: [{port: '8', protocol: ICMP}]}]"),
        'spec.ingress[0].toPorts[0].ports[0].port: must be "0" with protocol ICMP: message types belong in icmps',
    ),
    (
        ingress("toPorts: [{ports: [" + ", ".join(f"{{port: '{n}'}}" for n in range(1, 42)) + "]}]"),
        "spec.ingress[0].toPorts[0].ports: too many ports, the max is 40",
    ),
    ("endpointSelector: {}\ningressDeny: [toPorts: [{}]]", "spec.ingressDeny[0].toPorts[0]: names no ports"),
    # ICMP.
    (
        ingress("icmps: [{fields: [{type: 8}]}], toPorts: [{ports: [{port: '1'}]}]"),
        "spec.ingress[0].icmps: the ICMPs block may only be present without ToPorts. Define a separate",
    ),
    (ingress("icmps: [{fields: [{type: 256}]}]"), "spec.ingress[0].icmps[0].fields[0].type: ICMP type 256 is out of"),
    (
        ingress("icmps: [{fields: [{type: EchoRequst}]}]"),
        "spec.ingress[0].icmps[0].fields[0].type: 'EchoRequst' is no IPv4",
    ),
    (ingress("icmps: [{fields: [{family: IPv5, type: 8}]}]"), "spec.ingress[0].icmps[0].fields[0].family: unsupported"),
    # L7.
    (
        ingress(f"toPorts: [{{ports: [{{port: '53'}}], {DNS}}}]"),
        "spec.ingress[0].toPorts[0].rules.dns: DNS rules are not",
    ),
    (egress(f"toPorts: [{{{DNS}}}]"), "spec.egress[0].toPorts[0].rules.dns: port 53 must be specified for DNS rules"),
    (
        egress(f"toPorts: [{{ports: [{{port: '53', endPort: 54}}], {DNS}}}]"),
        "spec.egress[0].toPorts[0].ports[0].endPort: DNS rules do not support port ranges",
    ),
    (
        ingress(f"toPorts: [{{ports: [{{port: '80', protocol: UDP}}], {HTTP}}}]"),
        "spec.ingress[0].toPorts[0].ports[0].protocol: L7 rules can only apply to TCP (not UDP) except for DNS rules",
    ),
    (
        ingress(f"toPorts: [{{ports: [{{port: '0', protocol: TCP}}], {HTTP}}}]"),
        "spec.ingress[0].toPorts[0].ports[0].port: L7 rules can not be used when a port is 0",
    ),
    (
        ingress(f"toPorts: [{{{TCP80}, rules: {{http: [{{}}], kafka: [{{}}]}}}}]"),
        "spec.ingress[0].toPorts[0].rules: multiple L7 protocol rule types specified in single rule: http and kafka",
    ),
    (
        ingress(f"toPorts: [{{{TCP80}, rules: {{http: [{{path: '('}}]}}}}]"),
        "spec.ingress[0].toPorts[0].rules.http[0].path: '(' is not a regular expression",
    ),
    (
        ingress(f"toPorts: [{{{TCP80}, rules: {{l7: [{{a: b}}]}}}}]"),
        "spec.ingress[0].toPorts[0].rules.l7: 'l7' may only be",
    ),
    (
        ingress(f"toPorts: [{{{TCP80}, {HTTP}, serverNames: [a]}}]"),
        "spec.ingress[0].toPorts[0].serverNames: ServerNames are not allowed with L7 rules without TLS termination",
    ),
    (
        ingress(f"toPorts: [{{{TCP80}, listener: {{name: x, envoyConfig: {{name: y}}}}}}]"),
        "spec.ingress[0].toPorts[0].listener: Listener is not allowed on ingress (x)",
    ),
    (
        egress(f"toPorts: [{{{TCP80}, {HTTP}, listener: {{name: x, envoyConfig: {{name: y}}}}}}]"),
        "spec.egress[0].toPorts[0].listener: Listener is not allowed with L7 rules (x)",
    ),
    (
        f"endpointSelector: {{}}\ningressDeny: [toPorts: [{{{HTTP}}}]]",
        "spec.ingressDeny[0].toPorts[0].rules: unknown field",
    ),
    # Labels.
    (
        "endpointSelector: {matchLabels: {'k8s:a b': c}}\ningress: [{}]",
        "spec.endpointSelector.matchLabels[k8s:a b]: is not a label key",
    ),
    (
        "endpointSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}\ningress: [{}]",
        "spec.endpointSelector.matchExpressions[0].operator: unsupported operator: in; did you mean In?",
    ),
    ("endpointSelector: {app: web}\ningress: [{}]", "spec.endpointSelector.app: unknown field 'app'"),
]


@pytest.mark.parametrize(("spec", "expected"), WRONG, ids=[row[1][:60] for row in WRONG])
def test_refused(spec, expected):
    found = errors(cilium_policy(spec))
    assert found, "accepted"
    assert found[0].startswith(expected), found


DENIES = [
    ("ingressDeny: [{fromGroups: [{}]}]", "spec.ingressDeny[0].fromGroups"),
    ("egressDeny: [{toGroups: [{}]}]", "spec.egressDeny[0].toGroups"),
    (
        "ingressDeny: [{toPorts: [{ports: [{port: '0', protocol: VRRP}]}]}]",
        "spec.ingressDeny[0].toPorts[0].ports[0].protocol",
    ),
]


@pytest.mark.parametrize(("rule", "path"), DENIES)
def test_a_deny_rule_is_never_enforced_in_part(rule, path):
    (error,) = errors(cilium_policy(f"endpointSelector: {{}}\n{rule}"))
    assert error.startswith(f"{path}: cannot be enforced here, and a rule that refuses may not be enforced in part")


def test_host_policies_have_no_l7_rules_but_dns_on_egress():
    http = clusterwide_policy(f"nodeSelector: {{}}\ningress: [toPorts: [{{{TCP80}, {HTTP}}}]]")
    assert errors(http) == ["spec.ingress[0].toPorts[0].rules: L7 policy is not supported on host ingress yet"]
    assert errors(clusterwide_policy(f"nodeSelector: {{}}\negress: [toPorts: [{{{TCP80}, {HTTP}}}]]"))
    dns = clusterwide_policy(f"nodeSelector: {{}}\negress: [toPorts: [{{ports: [{{port: '53'}}], {DNS}}}]]")
    assert errors(dns) == []


def test_objects_that_are_hardly_objects():
    assert errors({**cilium_policy({}), "spec": []}) == ["spec: must be an object, is a list"]
    nothing = cilium_policy({})
    del nothing["spec"]
    assert errors(nothing) == [": spec or specs must be provided"]
    assert errors({**cilium_policy(ingress("")), "metadata": {}}) == ["metadata.name: is missing, must be text"]
    stray = {**cilium_policy(ingress("")), "spce": {}}
    assert errors(stray) == ["spce: unknown field 'spce': did you mean spec or specs?"]


def test_a_rule_set_of_errors_is_reported_whole():
    found = errors(cilium_policy(ingress("fromCIDR: [a, b, 10.0.0.0/8, c]")))
    assert [one.partition(":")[0] for one in found] == [f"spec.ingress[0].fromCIDR[{n}]" for n in (0, 1, 3)]
