"""One look finds every fault: those of the shape and those of the meaning, each once, and nothing that only follows."""

from __future__ import annotations

import pytest

from glasshive.api.policy_file import check, report_lines
from glasshive.api.policy_lint import lint
from policy_objects import Object, admin_policy, cilium_policy, errors, network_policy, read, warnings

CNP = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\n"
SPEC = "endpointSelector: {}\ningress: [{fromEntities: [host]}]\n"


def lines(text: str) -> list[str]:
    return [one.removeprefix("f:") for one in report_lines(check([("f", text)]))]


def paths(found: list[str]) -> list[str]:
    return [one.partition(": ")[0] for one in found]


def test_faults_of_shape_hide_no_faults_of_meaning_and_no_doubles():
    found = lines(f"""{CNP}spec:
  endpointSelector: {{}}
  ingress:
  - fromCIDR: [10.0.0.0/33]
    toPorts:
    - ports: [{{port: 80, protocol: TCP}}]
  - fromEntities: [wrld]
    toPorts: [{{ports: [{{port: "70000", protocol: TPC}}]}}]
  - icmps: [{{fields: [{{type: EchoRequst}}]}}]
  - fromEntities: [host]
  - fromEntities: [host]
""")
    assert [one.split(": ")[:3] for one in found] == [
        ["7", "error", "spec.ingress[0].fromCIDR[0]"],
        ["9", "error", "spec.ingress[0].toPorts[0].ports[0].port"],
        ["10", "error", "spec.ingress[1].fromEntities[0]"],
        ["11", "error", "spec.ingress[1].toPorts[0].ports[0].protocol"],
        ["11", "error", "spec.ingress[1].toPorts[0].ports[0].port"],
        ["12", "error", "spec.ingress[2].icmps[0].fields[0].type"],
        ["14", "warning", "spec.ingress[4]"],
    ]


FOLLOW_UPS: list[tuple[Object, list[str]]] = [
    # Each object has one fault, and what would follow from it is not said.
    (cilium_policy("endpointSelectr: {}\ningress: [{fromEntities: [host]}]"), ["spec.endpointSelectr"]),
    (cilium_policy("endpointSelector: {}\ningres: [{fromEntities: [host]}]"), ["spec.ingres"]),
    (cilium_policy("endpointSelector: {}\ningress: all"), ["spec.ingress"]),
    (cilium_policy("endpointSelector: []\ningress: [{}]"), ["spec.endpointSelector"]),
    (cilium_policy("endpointSelector: {}\ningress: [{toPorts: [{port: '80'}]}]"), ["spec.ingress[0].toPorts[0].port"]),
    (cilium_policy("endpointSelector: {}\ningress: [{toPorts: [{ports: [{portt: '80'}]}]}]"),
     ["spec.ingress[0].toPorts[0].ports[0].portt"]),
    (cilium_policy("endpointSelector: {}\ningress: [{toPorts: [{ports: [{protocol: TCP}]}]}]"),
     ["spec.ingress[0].toPorts[0].ports[0]"]),
    (cilium_policy("endpointSelector: {}\negressDeny: [{toFQDNs: [{matchName: a.example}]}]"),
     ["spec.egressDeny[0].toFQDNs"]),
    (cilium_policy("endpointSelector: {}\negress: [{toCIDRSet: [{cidr: 10.0.0.0, except: [10.1.0.0/16]}]}]"),
     ["spec.egress[0].toCIDRSet[0].cidr"]),
    (cilium_policy("endpointSelector: {matchExpressions: [{key: a, operator: Is}]}\ningress: [{}]"),
     ["spec.endpointSelector.matchExpressions[0].operator"]),
    (network_policy("podSelector: {}\ningress: [{from: [{ipBlock: {}}]}]"), ["spec.ingress[0].from[0].ipBlock"]),
    (admin_policy("priority: 1\nsubject: {namespaces: {}}\negress: [{action: Deny, to: [{domainNames: [a.example]}]}]"),
     ["spec.egress[0].to[0].domainNames"]),
    (admin_policy("priority: 1\nsubject: {namespaces: {}}\ningress: [{action: Deny, form: [{namespaces: {}}]}]"),
     ["spec.ingress[0].form"]),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "where"), FOLLOW_UPS)
def test_what_follows_from_a_fault_is_not_said(policy: Object, where: list[str]):
    findings = read(policy).policy.findings
    assert [one.path for one in findings] == where
    assert [one.severity for one in findings] == ["error"]


def test_a_misspelled_field_is_judged_as_what_was_meant():
    found = errors(cilium_policy("endpointSelektor: {matchLabels: {a: -x}}\ningres: [{fromCIDR: [nope]}, {foo: 1}]"))
    assert paths(found) == [
        "spec.endpointSelektor", "spec.ingres", "spec.ingres[1].foo", "spec.endpointSelektor.matchLabels[a]",
        "spec.ingres[0].fromCIDR[0]",
    ]  # fmt: skip


def test_an_item_without_its_dash_is_judged_too():
    found = errors(cilium_policy("endpointSelector: {}\ningress: {fromEndpoints: {matchLabels: {a: -x}}}"))
    assert paths(found) == [
        "spec.ingress", "spec.ingress[0].fromEndpoints", "spec.ingress[0].fromEndpoints[0].matchLabels[a]"
    ]  # fmt: skip
    assert found[0] == "spec.ingress: must be a list, is an object: begin the item with a dash"


def test_a_document_that_is_no_yaml_hides_no_other():
    text = f"a: [1\n---\n- 1\n---\n{CNP}spec: {{endpointSelector: {{}}, ingress: [{{fromCIDR: [x]}}]}}\n---\nb: ]\n"
    assert [one.partition(": ")[0] for one in lines(text)] == ["2", "3", "10", "8"]


LISTS = [("fromEndpoints", "ingress"), ("fromEntities", "ingress"), ("fromCIDR", "ingress"),
         ("fromCIDRSet", "ingress"), ("fromEndpoints", "ingressDeny"), ("toEndpoints", "egress"),
         ("toEntities", "egress"), ("toCIDR", "egress"), ("toCIDRSet", "egressDeny"), ("toServices", "egress"),
         ("toFQDNs", "egress")]  # fmt: skip


@pytest.mark.parametrize(("member", "section"), LISTS)
@pytest.mark.parametrize("more", ["", ", toPorts: [{ports: [{port: '80'}]}]"])
def test_an_empty_list_of_peers_selects_nobody_and_says_so(member: str, section: str, more: str):
    policy = cilium_policy(f"endpointSelector: {{}}\n{section}: [{{{member}: []{more}}}]")
    (rule,) = read(policy).policy.rules
    assert rule.peers == ()
    (found,) = warnings(policy)
    does = "refuses" if "Deny" in section else "allows"
    assert found.startswith(
        f"spec.{section}[0].{member}: is an empty list and selects nobody, so the rule {does} nothing"
    )


def test_an_empty_section_is_no_default_deny_and_says_so():
    policy = cilium_policy(f"{SPEC}egress: []")
    assert [one.direction.value for one in read(policy).policy.default_denies] == ["ingress"]
    assert warnings(policy) == [
        "spec.egress: is an empty list and refuses nothing: to refuse all egress write egress: [{}]"
    ]
    assert warnings(cilium_policy(f"{SPEC}egress: []\nenableDefaultDeny: {{egress: true}}")) == []
    (nothing,) = errors(cilium_policy("endpointSelector: {}\ningress: []"))
    assert nothing.startswith("spec: rule must have at least one of Ingress, IngressDeny, Egress, EgressDeny")
    assert nothing.endswith("; an empty list is none: to refuse all ingress write ingress: [{}]")


def test_empty_lists_of_a_network_policy_mean_everything_and_say_so():
    policy = network_policy("podSelector: {}\ningress: [{from: [], ports: []}]")
    (rule,) = read(policy).policy.rules
    assert (rule.peers, rule.ports) == (None, None)
    assert warnings(policy) == [
        "spec.ingress[0].from: is an empty list, which means everybody: leave it out if that is meant",
        "spec.ingress[0].ports: is an empty list, which means every port: leave it out if that is meant",
    ]


CLASHES = [
    ("{key: 'k8s:a', operator: In, values: [b]}, {key: 'k8s:a', operator: In, values: [c, d]}", True),
    ("{key: a, operator: In, values: [b]}, {key: a, operator: In, values: [c]}", False),  # from two sources
    ("{key: a, operator: In, values: [b]}, {key: a, operator: NotIn, values: [c, b]}", True),
    ("{key: a, operator: In, values: [b, e]}, {key: a, operator: NotIn, values: [c, b]}", False),
    ("{key: a, operator: DoesNotExist}, {key: a, operator: In, values: [b]}", True),
    ("{key: a, operator: Exists}, {key: a, operator: DoesNotExist}", True),
    ("{key: a, operator: NotIn, values: [b]}, {key: a, operator: DoesNotExist}", False),
]


@pytest.mark.parametrize(("expressions", "clash"), CLASHES)
def test_selectors_that_contradict_themselves(expressions: str, clash: bool):
    selector = f"{{matchExpressions: [{expressions}]}}"
    policy = cilium_policy(f"endpointSelector: {selector}\ningress: [{{fromEndpoints: [{selector}]}}]")
    found = [f"{one.path}: {one.message}" for one in lint(read(policy).policy)]
    assert [one.partition(": ")[0] for one in found] == (["spec", "spec.ingress[0]"] if clash else [])
    assert all("contradict each other" in one for one in found)
