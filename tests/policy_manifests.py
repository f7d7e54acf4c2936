"""Policies of every kind as people write them, drawn by hypothesis and read by the parsers of ``api``."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from glasshive.api.policies import parse
from glasshive.model.policy import PolicyObject

Object = dict[str, Any]
ENTITIES = ("all", "world", "cluster", "host", "remote-node", "init", "health")
CIDRS = ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "::/0", "2001:db8::/32")
EXCEPTS = {"10.0.0.0/8": ("10.1.0.0/16", "10.1.2.3/32"), "2001:db8::/32": ("2001:db8:1::/48",)}
PORTS = (53, 80, 81, 443, 8080)


def some(values: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=1, max_size=most)


@st.composite
def selectors(draw: st.DrawFn) -> Object:
    found: Object = {}
    if draw(st.booleans()):
        found["matchLabels"] = {"app": draw(st.sampled_from("abc"))}
    if draw(st.integers(0, 3)) == 0:
        op = draw(st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist")))
        values = {"values": draw(st.lists(st.sampled_from("xy"), min_size=1, max_size=2, unique=True))}
        found["matchExpressions"] = [{"key": "env", "operator": op, **(values if "In" in op else {})}]
    return found


@st.composite
def cidr_sets(draw: st.DrawFn, key: str) -> Object:
    cidr = draw(st.sampled_from(CIDRS))
    excepts = draw(st.lists(st.sampled_from(EXCEPTS[cidr]), max_size=1)) if cidr in EXCEPTS else []
    return {key: cidr, **({"except": excepts} if excepts else {})}


@st.composite
def to_ports(draw: st.DrawFn) -> Object:
    ports = []
    for _ in range(draw(st.integers(1, 2))):
        first = draw(st.sampled_from(PORTS))
        one: Object = {"port": str(first), "protocol": draw(st.sampled_from(("TCP", "UDP", "SCTP", "ANY")))}
        if draw(st.integers(0, 3)) == 0:
            one["endPort"] = first + draw(st.integers(1, 40))
        elif draw(st.integers(0, 4)) == 0:
            one["port"] = draw(st.sampled_from(("http", "dns")))
        ports.append(one)
    return {"ports": ports}


@st.composite
def cilium_rules(draw: st.DrawFn, word: str) -> Object:
    peers = draw(
        st.one_of(
            st.just({}),
            some(selectors()).map(lambda found: {f"{word}Endpoints": found}),
            some(st.sampled_from(ENTITIES)).map(lambda found: {f"{word}Entities": found}),
            some(cidr_sets("cidr")).map(lambda found: {f"{word}CIDRSet": found}),
        )
    )
    return peers | ({"toPorts": [draw(to_ports())]} if draw(st.booleans()) else {})


@st.composite
def cilium(draw: st.DrawFn, name: str) -> Object:
    whole = draw(st.booleans())
    on_nodes = whole and draw(st.integers(0, 2)) == 0
    spec: Object = {"nodeSelector": {}} if on_nodes else {"endpointSelector": draw(selectors())}
    for section, word in (("ingress", "from"), ("egress", "to"), ("ingressDeny", "from"), ("egressDeny", "to")):
        if draw(st.integers(0, 2)) == 0:
            spec[section] = draw(some(cilium_rules(word)))
    assume(len(spec) > 1)
    if draw(st.integers(0, 3)) == 0:
        spec["enableDefaultDeny"] = {"ingress": draw(st.booleans()), "egress": draw(st.booleans())}
    kind, place = ("CiliumClusterwideNetworkPolicy", {}) if whole else ("CiliumNetworkPolicy", {"namespace": "n1"})
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": {"name": name, **place}, "spec": spec}


@st.composite
def kubernetes(draw: st.DrawFn, name: str) -> Object:
    spec: Object = {"podSelector": draw(selectors()), "policyTypes": ["Ingress"]}
    for section, word in (("ingress", "from"), ("egress", "to")):
        if section == "egress":
            if draw(st.booleans()):
                continue
            spec["policyTypes"].append("Egress")
        rules = []
        for _ in range(draw(st.integers(0, 2))):
            rule: Object = {}
            if draw(st.booleans()):
                peer = selectors().map(lambda one: {"podSelector": one}) | st.just({"namespaceSelector": {}})
                rule[word] = draw(some(peer | cidr_sets("cidr").map(lambda one: {"ipBlock": one})))
            if draw(st.booleans()):
                port = draw(st.sampled_from((*PORTS, "http")))
                rule["ports"] = [{"port": port, "protocol": draw(st.sampled_from(("TCP", "UDP")))}]
                if isinstance(port, int) and draw(st.booleans()):
                    rule["ports"][0]["endPort"] = port + 30
            rules.append(rule)
        spec[section] = rules
    metadata = {"name": name, "namespace": draw(st.sampled_from(("n1", "n2")))}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@st.composite
def administrators(draw: st.DrawFn, name: str) -> Object:
    base = draw(st.booleans())
    new = draw(st.booleans())
    actions = ("Accept" if new else "Allow", "Deny") if base else ("Accept" if new else "Allow", "Deny", "Pass")
    subject = {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "n1"}}}
    spec: Object = {"subject": draw(st.sampled_from((subject, {"namespaces": {}})))}
    for section, word in (("ingress", "from"), ("egress", "to")):
        rules = []
        for number in range(draw(st.integers(0, 2))):
            rule: Object = {"name": f"r{number}", "action": draw(st.sampled_from(actions))}
            rule[word] = [draw(st.sampled_from((subject, {"pods": {"namespaceSelector": {}, "podSelector": {}}})))]
            rules.append(rule)
        if rules:
            spec[section] = rules
    version, kind = "v1alpha1", "BaselineAdminNetworkPolicy" if base else "AdminNetworkPolicy"
    if new:
        version, kind = "v1alpha2", "ClusterNetworkPolicy"
        spec["tier"] = "Baseline" if base else "Admin"
    if new or not base:
        spec["priority"] = draw(st.integers(0, 3))
    metadata = {"name": "default" if base and not new else name}
    return {"apiVersion": f"policy.networking.k8s.io/{version}", "kind": kind, "metadata": metadata, "spec": spec}


@st.composite
def written(draw: st.DrawFn, name: str) -> PolicyObject:
    """A valid policy object of any kind."""
    obj = draw(cilium(name) | kubernetes(name) | administrators(name))
    parsed = parse(obj)
    assert not [one for one in parsed.policy.findings if one.severity == "error"], (obj, parsed.policy.findings)
    return parsed.policy
