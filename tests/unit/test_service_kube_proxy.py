"""kube-proxy's rules as text: what leads where, and that differences are small and whole."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.api.service import ANY_IPV4, ANY_IPV6
from glasshive.model.address import Prefix, parse
from glasshive.model.service import Frontend, FrontendFlag, FrontendType, Place
from glasshive.service.kube_proxy import iptables, nftables
from glasshive.service.kube_proxy.names import Owned, PeerNode, named

NODE = PeerNode(
    (Prefix.parse("10.244.1.0/24"), Prefix.parse("fd00:10:244:1::/64")),
    (Prefix.parse("10.244.0.0/16"), Prefix.parse("fd00:10:244::/48"), Prefix.parse("172.30.0.11/32")),
)
BACKENDS = tuple((Place(parse(f"10.244.{n}.5"), 8080, 6), 1) for n in (1, 2, 3))
LOCAL = BACKENDS[:1]
CLUSTER = Place(parse("10.96.0.7"), 80, 6)
NODE_PORT = Place(ANY_IPV4, 30080, 6)
BALANCER = Place(parse("203.0.113.80"), 80, 6)
F = FrontendFlag


def owned(place: Place, kind: FrontendType, flags: int = 0, **more: object) -> Owned:
    values = {"internal": BACKENDS, "external": BACKENDS, "port_name": "http", **more}
    return named("default/web", Frontend(place, kind, flags, **values))  # type: ignore[arg-type]


def chain_of(found: iptables.Ruleset, prefix: str) -> tuple[str, tuple[str, ...]]:
    names = [name for name in found["nat"] if name.startswith(prefix)]
    assert len(names) == 1, names
    return names[0], found["nat"][names[0]]


def test_each_backend_is_as_likely_as_the_others() -> None:
    found = iptables.ruleset([owned(CLUSTER, FrontendType.CLUSTER_IP)], NODE, ipv4=True)
    service, rules = chain_of(found, "KUBE-SVC-")
    assert any(f"-d 10.96.0.7 -p tcp -m tcp --dport 80 -j {service}" in rule for rule in found["nat"]["KUBE-SERVICES"])
    assert rules[0].endswith("! -s 10.244.1.0/24 -j KUBE-MARK-MASQ"), "who is no pod of this node must get answers here"
    left, chances = 1.0, []
    for rule in rules[1:]:
        told = re.search(r"--probability ([\d.]+)", rule)
        share = float(told[1]) if told else 1.0
        chances.append(left * share)
        left *= 1 - share
    assert chances == pytest.approx([1 / 3] * 3, abs=1e-9)
    ends = [rules for name, rules in found["nat"].items() if name.startswith("KUBE-SEP-")]
    assert sorted(rules[-1].split()[-1] for rules in ends) == [f"10.244.{n}.5:8080" for n in (1, 2, 3)]
    assert all(rules[0].startswith("-s 10.244.") and rules[0].endswith("-j KUBE-MARK-MASQ") for rules in ends), (
        "hairpin"
    )


def test_node_ports_come_last_and_only_for_the_nodes_own_addresses() -> None:
    both = [owned(CLUSTER, FrontendType.CLUSTER_IP), owned(NODE_PORT, FrontendType.NODE_PORT)]
    found = iptables.ruleset(both, NODE, ipv4=True)
    door, rules = chain_of(found, "KUBE-EXT-")
    assert found["nat"]["KUBE-SERVICES"][-1] == "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
    assert [rule.split("-j ")[-1] for rule in found["nat"]["KUBE-NODEPORTS"]] == [door]
    assert rules == ("-j KUBE-MARK-MASQ", f"-j {chain_of(found, 'KUBE-SVC-')[0]}")


def test_external_traffic_policy_local_keeps_the_callers_address() -> None:
    local = owned(NODE_PORT, FrontendType.NODE_PORT, int(F.EXTERNAL_LOCAL), external=LOCAL)
    rules = chain_of(iptables.ruleset([local], NODE, ipv4=True), "KUBE-EXT-")[1]
    assert "-j KUBE-MARK-MASQ" not in rules, "only callers on this node are marked"
    assert rules[-1].startswith("-j KUBE-SVL-")
    nobody = local._replace(frontend=local.frontend._replace(external=()))
    rules = chain_of(iptables.ruleset([nobody], NODE, ipv4=True), "KUBE-EXT-")[1]
    assert not any("KUBE-SVL" in rule for rule in rules)
    assert nftables.table([nobody], NODE, ipv4=True).chains[_only(nobody, "local-")] == ("drop",)


def _only(one: Owned, prefix: str) -> str:
    names = [name for name in nftables.table([one], NODE, ipv4=True).chains if name.startswith(prefix)]
    assert len(names) == 1, names
    return names[0]


def test_source_ranges_let_in_or_keep_out() -> None:
    ranges = (Prefix.parse("203.0.113.0/24"),)
    flags = int(F.SOURCE_RANGES)
    one = owned(BALANCER, FrontendType.LOAD_BALANCER, flags, source_ranges=ranges)
    found = iptables.ruleset([one], NODE, ipv4=True)
    assert chain_of(found, "KUBE-FW-")[1][0].startswith("-s 203.0.113.0/24 -j KUBE-EXT-")
    assert "-d 203.0.113.80 -p tcp -m tcp --dport 80 -j DROP" in found["filter"]["KUBE-PROXY-FIREWALL"][0]
    assert (
        nftables.table([one], NODE, ipv4=True).chains[_only(one, "firewall-")][0]
        == "ip saddr != { 203.0.113.0/24 } drop"
    )
    deny = owned(BALANCER, FrontendType.LOAD_BALANCER, flags | int(F.SOURCE_DENY), source_ranges=ranges)
    assert chain_of(iptables.ruleset([deny], NODE, ipv4=True), "KUBE-FW-")[1][0] == "-s 203.0.113.0/24 -j RETURN"
    none = owned(BALANCER, FrontendType.LOAD_BALANCER, flags)  # ranges of which none makes sense
    assert chain_of(iptables.ruleset([none], NODE, ipv4=True), "KUBE-FW-")[1] == ()
    assert nftables.table([none], NODE, ipv4=True).chains[_only(none, "firewall-")][0] == "drop"


@pytest.mark.parametrize(
    ("flags", "told", "verdict"), [(int(F.REJECT), "REJECT", "goto reject-chain"), (0, "DROP", "drop")]
)
def test_a_service_without_endpoints_answers_as_configured(flags: int, told: str, verdict: str) -> None:
    one = owned(CLUSTER, FrontendType.CLUSTER_IP, flags, internal=(), external=())
    found = iptables.ruleset([one], NODE, ipv4=True)
    assert found["filter"]["KUBE-SERVICES"][0].endswith(f"-j {told}")
    assert len(found["nat"]["KUBE-SERVICES"]) == 1
    assert nftables.table([one], NODE, ipv4=True).maps == {"no-endpoint-services": {"10.96.0.7 . tcp . 80": verdict}}


def test_affinity_is_remembered_at_the_endpoint_and_asked_before_the_choice() -> None:
    one = owned(CLUSTER, FrontendType.CLUSTER_IP, int(F.AFFINITY), affinity_s=30)
    rules = chain_of(iptables.ruleset([one], NODE, ipv4=True), "KUBE-SVC-")[1]
    assert ["--rcheck --seconds 30" in rule for rule in rules] == [False, True, True, True, False, False, False]
    table = nftables.table([one], NODE, ipv4=True)
    assert len(table.sets) == 3
    assert all("timeout 30s" in shape for shape in table.sets.values())


def test_families_do_not_mix() -> None:
    six = owned(Place(ANY_IPV6, 30080, 6), FrontendType.NODE_PORT, internal=((Place(parse("fd00::5"), 80, 6), 1),))
    assert not iptables.ruleset([six], NODE, ipv4=True)["nat"]["KUBE-NODEPORTS"]
    assert "[fd00::5]:80" in str(iptables.ruleset([six], NODE, ipv4=False))
    assert nftables.table([six], NODE, ipv4=True) == nftables.Table()


SETS = st.lists(st.integers(1, 5), unique=True, max_size=4).map(
    lambda some: tuple((Place(parse(f"10.244.{n}.5"), 8080, 6), 1) for n in sorted(some))
)
WORLDS = st.dictionaries(st.integers(1, 6), SETS, max_size=5).map(
    lambda found: [
        named(f"default/s{n}", Frontend(Place(parse(f"10.96.0.{n}"), 80, 6), FrontendType.CLUSTER_IP, 0, ends, ends))
        for n, ends in found.items()
    ]
)


def restore(now: iptables.Ruleset, text: str) -> iptables.Ruleset:
    """What iptables-restore --noflush does with such a text. AssertionError where it would refuse."""
    after = {table: dict(chains) for table, chains in now.items()}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
            after.setdefault(table, {})
        elif line.startswith(":"):
            after[table][line[1:].split()[0]] = ()
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            after[table][chain] += (rule,)
        elif line.startswith("-X "):
            gone = line[3:]
            assert after[table].pop(gone) == ()
            assert not any(f"-j {gone}" in rule for rules in after[table].values() for rule in rules), "still in use"
        else:
            assert line == "COMMIT"
    return after


@given(st.lists(WORLDS, min_size=2, max_size=4))
def test_differences_add_up(worlds: list[list[Owned]]) -> None:
    rulesets = [iptables.ruleset(one, NODE, ipv4=True) for one in worlds]
    now = restore({}, iptables.difference({}, rulesets[0]))
    for old, new in pairwise(rulesets):
        now = restore(now, iptables.difference(old, new))
        assert now == new
    assert iptables.difference(rulesets[-1], rulesets[-1]) == ""
    tables = [nftables.table(one, NODE, ipv4=True) for one in worlds]
    assert nftables.difference(tables[-1], tables[-1], ipv4=True) == ""
    for old, new in pairwise(tables):
        text = nftables.difference(old, new, ipv4=True)
        assert text.count("add rule") == sum(
            len(rules) for name, rules in new.chains.items() if old.chains.get(name) != rules
        )
