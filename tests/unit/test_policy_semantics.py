"""The semantics table of the reference (features.md 2.6 and 2.7), row by row: YAML in, verdicts out.

Objects go through the parsers of ``api``, verdicts come from ``trace``. A line such as ``client web 80/TCP yes`` is one
connection; both the oracle and the engine must say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

import policy_objects as po
from glasshive.model.address import Prefix
from glasshive.model.labels import Labels
from glasshive.model.policy import PolicyObject, SubjectKind
from glasshive.policy.ports import NamedPort
from glasshive.policy.resolve import Mode, Settings
from glasshive.policy.trace import Party, trace
from policy_oracle import Cluster, Packet, Somebody, judge

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132, "ICMP": 1, "ICMPv6": 58, "GRE": 47}


def pod(namespace: str, app: str, address: str, *named: NamedPort) -> Party:
    generated = "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name"
    labels = [f"k8s:io.kubernetes.pod.namespace={namespace}", f"{generated}={namespace}", f"k8s:app={app}"]
    labels.append("k8s:io.cilium.k8s.policy.cluster=default")
    return Party(f"{namespace}/{app}", Labels.of(labels), (Prefix.parse(address),), frozenset(named))


def node(name: str, entity: str, address: str, *, by_cidr: bool = False) -> Party:
    seen = Labels.of([f"reserved:{entity}"] + [f"cidr:{address}/32"] * by_cidr)
    return Party(name, seen, (Prefix.parse(address),), kind=SubjectKind.NODE, peer_labels=seen)


CAST = {
    "web": pod("shop", "web", "10.244.1.10", NamedPort("http", 6, 80)),
    "client": pod("shop", "client", "10.244.1.11", NamedPort("http", 6, 8080)),
    "other": pod("bank", "client", "10.244.2.12"),
    "host": node("host", "host", "172.30.0.11"),
    "node2": node("node2", "remote-node", "172.30.0.12"),
    "world": Party("world", addresses=(Prefix.parse("203.0.113.9"),), kind=None),
    "near": Party("near", addresses=(Prefix.parse("203.0.113.200"),), kind=None),
    "world6": Party("world6", addresses=(Prefix.parse("2001:db8::9"),), kind=None),
}


@dataclass(frozen=True)
class Row:
    """``says``: lines of ``sender receiver port/protocol yes|no``."""

    policies: list[po.Object]
    says: str
    settings: Settings = field(default_factory=Settings)


def cnp(spec: str) -> po.Object:
    return po.cilium_policy(spec)


def on_web(body: str) -> po.Object:
    return cnp("endpointSelector: {matchLabels: {app: web}}\n" + body)


ALLOW_80_L3 = """
ingress:
- toPorts: [{ports: [{port: "80", protocol: TCP}, {port: "81", protocol: TCP}]}]
- fromEndpoints: [{matchLabels: {app: client}}]
"""
DENY_80 = ALLOW_80_L3 + 'ingressDeny: [{toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]'
DENY_CLIENT = ALLOW_80_L3 + "ingressDeny: [{fromEndpoints: [{matchLabels: {app: client}}]}]"
ADMIN = "subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: shop}}}\n"
FROM_SHOP = "from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: shop}}}]"


def admin(action: str, more: str = "", priority: int = 10) -> po.Object:
    rule = f"ingress: [{{name: one, action: {action}, {FROM_SHOP}{more}}}]"
    return po.admin_policy(f"{ADMIN}priority: {priority}\n{rule}")


def baseline(action: str) -> po.Object:
    return po.admin_policy(f"{ADMIN}ingress: [{{action: {action}, {FROM_SHOP}}}]", "BaselineAdminNetworkPolicy")


NOBODY = on_web("ingress: [{}]")
K8S = "podSelector: {matchLabels: {app: web}}\n"
TABLE = {
    "mode default: who is selected": Row(
        [NOBODY], "client web 80/TCP no; web client 80/TCP yes; client other 1/UDP yes"
    ),
    "mode always: everybody": Row([], "client web 80/TCP no; other web 8/ICMP no", Settings(Mode.ALWAYS)),
    "mode never: nobody": Row([NOBODY], "client web 80/TCP yes", Settings(Mode.NEVER)),
    "default deny is per direction": Row([on_web("egress: [{}]")], "client web 80/TCP yes; web client 80/TCP no"),
    "an empty list is no section": Row(
        [on_web("ingress: []\negress: [{}]")], "client web 80/TCP yes; web client 80/TCP no"
    ),
    "fromEndpoints {}: the namespace, not the host's or the world's": Row(
        [on_web("ingress: [{fromEndpoints: [{}]}]")],
        "client web 80/TCP yes; other web 80/TCP no; world web 80/TCP no; node2 web 80/TCP no",
    ),
    "fromEndpoints {} of a cluster-wide policy: every namespace": Row(
        [po.clusterwide_policy("endpointSelector: {matchLabels: {app: web}}\ningress: [{fromEndpoints: [{}]}]")],
        "client web 80/TCP yes; other web 80/TCP yes; world web 80/TCP no; node2 web 80/TCP no",
    ),
    "fromEndpoints []: nobody": Row([on_web("ingress: [{fromEndpoints: []}]")], "client web 80/TCP no"),
    "ports without peers: anybody": Row(
        [on_web('ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]')],
        "client web 80/TCP yes; world6 web 80/TCP yes; node2 web 80/TCP yes; client web 81/TCP no; client web 1/UDP no",
    ),
    "peers are of the policy's namespace unless they name one": Row(
        [on_web("ingress: [{fromEndpoints: [{matchLabels: {app: client}}]}]")],
        "client web 1/TCP yes; other web 1/TCP no",
    ),
    "peers of another namespace": Row(
        [on_web("ingress: [{fromEndpoints: [{matchLabels: {'k8s:io.kubernetes.pod.namespace': bank}}]}]")],
        "client web 1/TCP no; other web 1/TCP yes",
    ),
    "enableDefaultDeny false: allows add, the rest passes": Row(
        [
            on_web(
                "enableDefaultDeny: {ingress: false}\n"
                'ingressDeny: [{toPorts: [{ports: [{port: "22", protocol: TCP}]}]}]'
            )
        ],
        "client web 22/TCP no; client web 80/TCP yes; world web 8/ICMP yes",
    ),
    "allows of all kinds are one union": Row(
        [
            on_web("ingress: [{fromEndpoints: [{matchLabels: {app: client}}]}]"),
            po.network_policy(K8S + "ingress: [{ports: [{port: 53, protocol: UDP}]}]"),
        ],
        "client web 80/TCP yes; world web 53/UDP yes; world web 53/TCP no",
    ),
    "peer and port of one rule are joined": Row(
        [
            on_web(
                "ingress: [{fromEndpoints: [{matchLabels: {app: client}}],"
                ' toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]'
            )
        ],
        "client web 80/TCP yes; client web 81/TCP no; other web 80/TCP no",
    ),
    "deny of a port: 81 and ping pass": Row(
        [on_web(DENY_80)], "client web 80/TCP no; client web 81/TCP yes; client web 8/ICMP yes; world web 81/TCP yes"
    ),
    "deny of a peer: nothing passes": Row(
        [on_web(DENY_CLIENT)], "client web 80/TCP no; client web 81/TCP no; client web 8/ICMP no; world web 80/TCP yes"
    ),
    "both sides must let it": Row(
        [
            on_web("ingress: [{fromEntities: [cluster]}]"),
            cnp("endpointSelector: {matchLabels: {app: client}}\negress: [{}]"),
        ],
        "client web 80/TCP no; other web 80/TCP yes",
    ),
    "the host reaches its pods": Row([NOBODY], "host web 10250/TCP yes; node2 web 10250/TCP no"),
    "unless that is left to policy": Row([NOBODY], "host web 80/TCP no", Settings(allow_localhost=False)),
    "unless a rule denies it": Row([on_web("ingressDeny: [{fromEntities: [host]}]")], "host web 80/TCP no"),
    "what needs a proxy allows nothing yet": Row(
        [on_web('ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET}]}}]}]')],
        "client web 80/TCP no",
    ),
    "CIDRs mean neither pods nor nodes": Row(
        [on_web("ingress: [{fromCIDR: [0.0.0.0/0]}]")],
        "world web 80/TCP yes; world6 web 80/TCP no; client web 80/TCP no; node2 web 80/TCP no",
    ),
    "excepts are not selected, which is no deny": Row(
        [
            on_web(
                "ingress: [{fromCIDRSet: [{cidr: 203.0.113.0/24, except: [203.0.113.192/26]}]},"
                ' {toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]'
            )
        ],
        "world web 81/TCP yes; near web 81/TCP no; near web 80/TCP yes",
    ),
    "world is everything outside": Row(
        [on_web("ingress: [{fromEntities: [world]}, {fromCIDR: [203.0.113.128/25]}]")],
        "world web 80/TCP yes; near web 80/TCP yes; world6 web 80/TCP yes; client web 80/TCP no; node2 web 80/TCP no",
    ),
    "nodes by CIDR, where configured": Row(
        [on_web("ingress: [{fromCIDR: [172.30.0.0/24]}]")], "node3 web 80/TCP yes", Settings(nodes_by_cidr=True)
    ),
    "host firewall": Row(
        [po.clusterwide_policy("nodeSelector: {}\ningress: [{fromEntities: [cluster]}]")],
        "client host 22/TCP yes; node2 host 22/TCP yes; world host 22/TCP no; world web 22/TCP yes",
    ),
    "ICMP types": Row(
        [on_web("ingress: [{icmps: [{fields: [{type: 8, family: IPv4}, {type: EchoRequest, family: IPv6}]}]}]")],
        "client web 8/ICMP yes; client web 128/ICMPv6 yes; client web 13/ICMP no; client web 8/TCP no",
    ),
    "NetworkPolicy: ranges of ports": Row(
        [po.network_policy(K8S + "ingress: [{ports: [{port: 1000, endPort: 2000}]}]")],
        "client web 999/TCP no; client web 1000/TCP yes; client web 2000/TCP yes; client web 2001/TCP no",
    ),
    "NetworkPolicy: an empty rule allows everything": Row(
        [po.network_policy(K8S + "ingress: [{}]")], "world web 80/TCP yes; other web 0/GRE yes"
    ),
    "NetworkPolicy: no rule allows nothing": Row([po.network_policy(K8S + "ingress: []")], "client web 80/TCP no"),
    "NetworkPolicy: ipBlock never means pods": Row(
        [po.network_policy(K8S + "ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]")],
        "world web 80/TCP yes; client web 80/TCP no",
    ),
    "NetworkPolicy: a named port is the receiver's": Row(
        [po.network_policy("podSelector: {}\ningress: [{ports: [{port: http}]}]")],
        "client web 80/TCP yes; client web 8080/TCP no; web client 8080/TCP yes; web client 80/TCP no",
    ),
    "named ports of egress are the peer's": Row(
        [po.network_policy("podSelector: {}\npolicyTypes: [Egress]\negress: [{ports: [{port: http}]}]")],
        "client web 80/TCP yes; client web 8080/TCP no; web client 8080/TCP yes; web world 80/TCP no",
    ),
    "Admin denies before anything allows": Row(
        [admin("Deny"), on_web("ingress: [{fromEntities: [all]}]")], "client web 80/TCP no; other web 80/TCP yes"
    ),
    "Admin allows what policies deny": Row(
        [admin("Allow"), NOBODY, on_web("ingressDeny: [{fromEntities: [all]}]")],
        "client web 80/TCP yes; other web 1/TCP no",
    ),
    "Admin passes on: the policies decide": Row(
        [admin("Pass"), admin("Deny", priority=20), on_web("ingress: [{fromEndpoints: [{}]}]")],
        "client web 80/TCP yes; other web 80/TCP no",
    ),
    "Admin passes on, and nobody else speaks: Baseline": Row(
        [admin("Pass"), baseline("Deny")], "client web 80/TCP no; other web 80/TCP yes"
    ),
    "Baseline is silent under default deny": Row([baseline("Allow"), NOBODY], "client web 80/TCP no"),
    "the lower priority is asked first": Row(
        [admin("Deny", priority=5), admin("Allow", priority=6)], "client web 1/TCP no"
    ),
}
EXTRA = {"node3": node("node3", "remote-node", "172.30.0.13", by_cidr=True)}
CASES = [pytest.param(row, line.strip(), id=f"{name}: {line.strip()}") for name, row in TABLE.items()
         for line in row.says.split(";")]  # fmt: skip


def parsed(row: Row) -> list[PolicyObject]:
    """The objects, each under a name of its own."""
    found = []
    for number, one in enumerate(row.policies):
        one["metadata"]["name"] = f"{one['metadata']['name']}" if one["metadata"]["name"] == "default" else f"p{number}"
        read = po.read(one)
        assert read.valid, read.policy.findings
        found.append(read.policy)
    return found


def somebody(party: Party) -> Somebody:
    """A party as the oracle knows it."""
    address = str(party.addresses[0]).split("/", maxsplit=1)[0]
    if party.kind is None:
        world = Labels.of([f"reserved:world-ipv{6 if ':' in address else 4}"])
        return Somebody(party.name, world, address, kind="world")
    seen = party.peer_labels if len(party.peer_labels) else party.labels
    return Somebody(party.name, seen, address if party.kind is SubjectKind.NODE else "", party.named_ports, party.kind)


@pytest.mark.parametrize(("row", "line"), CASES)
def test_semantics(row: Row, line: str) -> None:
    sender, receiver, packet, wanted = line.split()
    port, protocol = int(packet.split("/")[0]), PROTOCOLS[packet.split("/")[1]]
    objects, cast = parsed(row), CAST | EXTRA
    source, destination = cast[sender], cast[receiver]
    told = trace(objects, source, destination, (protocol, port), row.settings)
    cluster = Cluster(objects, row.settings.mode, row.settings.allow_localhost, row.settings.nodes_by_cidr)
    ends = somebody(source), somebody(destination)
    sides = [(*ends, "egress")] * (source.kind is not None) + [(*ends[::-1], "ingress")] * (
        destination.kind is not None
    )
    said = [judge(cluster, Packet(*side, protocol, port)) for side in sides]
    assert told.allowed == (wanted == "yes"), told.text()
    assert all(one is None or one.verdict == "allow" for one in said) == (wanted == "yes"), said
