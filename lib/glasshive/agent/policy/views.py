"""What people and programs ask of policy on a node: plain JSON rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from glasshive.api.policy_lint import selecting_nobody
from glasshive.endpoint.table import owner_of
from glasshive.errors import NotFoundError
from glasshive.maps.policy import Row
from glasshive.model.endpoint import Endpoint
from glasshive.model.policy import (
    ICMP,
    ICMPV6,
    SCTP,
    TCP,
    UDP,
    CidrPeer,
    Finding,
    LabelPeer,
    Match,
    ObjectRef,
    Peer,
    PolicyObject,
    Verdict,
)
from glasshive.policy.delta import Assignment

if TYPE_CHECKING:
    from glasshive.agent.policy.feature import PolicyFeature

PROTOCOLS = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP", ICMP: "ICMP", ICMPV6: "ICMPv6"}
_WORDS = {Verdict.ALLOW: "Allow", Verdict.DENY_DEFAULT: "Default deny", Verdict.DENY_RULE: "Deny"}
_PROTOCOL_BITS = 8


def protocol_name(number: int) -> str:
    """Name of an IP protocol, its number if it has none here."""
    return PROTOCOLS.get(number, str(number))


class PolicyViews:
    """Answers from the engine and the kernel's tables."""

    def __init__(self, feature: PolicyFeature) -> None:
        self._feature = feature

    def endpoint(self, endpoint: Endpoint) -> dict[str, Any]:
        """What policy adds to an endpoint's row."""
        ingress, egress = self._feature.enforcement_texts(endpoint)
        waiting = endpoint.identity == self._feature.init_identity
        return {
            "policyIngress": ingress,
            "policyEgress": egress,
            "policy": endpoint.enforcement.policy,
            "options": {
                "PolicyAuditMode": "Enabled" if self._feature.runtime.audit(owner_of(endpoint)) else "Disabled"
            },
            "state": "waiting-for-identity" if waiting else "ready",
        }

    def map_rows(self, endpoint: Endpoint | None = None) -> list[dict[str, Any]]:
        """Rows of the policy of an endpoint (of all policies in use without one), with labels and origins."""
        if endpoint is None:
            return [self._row(row) for row in self._feature.maps.rows()]
        number = endpoint.enforcement.policy
        return [self._row(row) for row in self._feature.maps.rows(number)] if number else []

    def rule_names(self, cookie: int) -> str:
        """Which rule a cookie stands for."""
        engine = self._feature.engine
        origin = engine.origin(cookie) if engine is not None and cookie else None
        return str(origin) if origin else ""

    def labels_of(self, identity: int) -> list[str]:
        """An identity's labels; those of address blocks too."""
        engine = self._feature.engine
        labels = engine.peers.labels(identity) if engine is not None else None
        return labels.texts() if labels is not None else []

    def _row(self, row: Row) -> dict[str, Any]:
        bits = 0 if row.port is None else _PROTOCOL_BITS + row.prefix_bits
        return {
            "policy": row.number,
            "verdict": _WORDS[row.verdict],
            "direction": row.direction.value.capitalize(),
            "identity": row.identity,
            "labels": self.labels_of(row.identity) if row.identity else [],
            "portProtocol": port_text(row),
            "proxyPort": 0,
            "authType": "disabled",
            "bytes": row.bytes,
            "packets": row.packets,
            "prefix": bits,
            "cookie": row.rule,
            "rule": self.rule_names(row.rule),
        }

    def selectors(self) -> list[dict[str, Any]]:
        """Peers that rules name, how many rules do, and which identities they mean now."""
        engine = self._feature.engine
        if engine is None:
            return []
        found = [
            {"selector": peer_text(one.peer), "users": one.users, "identities": sorted(one.members)}
            for one in engine.peers.selectors()
        ]
        return sorted(found, key=lambda row: str(row["selector"]))

    def objects(self) -> dict[str, Any]:
        """The objects in force, as this node understands them."""
        sources = self._feature.sources
        rows = [
            {
                "kind": parsed.policy.ref.kind,
                "namespace": parsed.policy.ref.namespace,
                "name": parsed.policy.ref.name,
                "valid": parsed.valid,
                "rules": len(parsed.policy.rules),
                "subjects": self._subjects(parsed.policy.ref),
                "findings": [f"{one.severity}: {one.path}: {one.message}" for one in self._findings(parsed.policy)],
                "needs": sorted({need for rule in parsed.policy.rules for need in rule.needs}),
                "object": {key: obj[key] for key in ("apiVersion", "kind", "metadata", "spec", "specs") if key in obj},
            }
            for obj, parsed in sources.objects()
        ]
        rows.sort(key=lambda row: (row["kind"], row["namespace"], row["name"]))
        return {"revision": self._feature.maps.revision(), "objects": rows}

    def _findings(self, policy: PolicyObject) -> Iterable[Finding]:
        """What is wrong with an object, and who is meant by it and does not exist now."""
        engine = self._feature.engine
        return (
            policy.findings if engine is None else (*policy.findings, *selecting_nobody(policy, engine.peers.anybody))
        )

    def _subjects(self, ref: ObjectRef) -> int:
        """How many endpoints of this node (and the node) an object selects."""
        engine = self._feature.engine
        if engine is None:
            return 0
        return sum(self._names(assignment, ref) for assignment in engine.assignments())

    def _names(self, assignment: Assignment, ref: ObjectRef) -> bool:
        assert self._feature.engine is not None
        found = self._feature.engine.applicable(assignment.subject)
        return any(one.rule.origin.object == ref for one in found.rules) or any(
            one.origin == ref for one in found.denies
        )


def port_text(row: Row) -> str:
    """``8080/TCP``, ``1024-2047/TCP``, ``8/ICMP``, ``TCP``, ``ANY``."""
    if row.port is None:
        return "ANY"
    name = protocol_name(row.protocol)
    if not row.prefix_bits:
        return name
    last = row.port + (1 << 16 - row.prefix_bits) - 1
    return f"{row.port}/{name}" if last == row.port else f"{row.port}-{last}/{name}"


def peer_text(peer: Peer) -> str:
    """A peer as people write it."""
    if isinstance(peer, CidrPeer):
        return f"cidr:{peer.prefix}" + "".join(f" except {one}" for one in peer.excepts)
    assert isinstance(peer, LabelPeer)
    return " ".join(match_text(one) for one in peer.matches) or "every endpoint"


def match_text(match: Match) -> str:
    """``k8s:app=web``, ``!k8s:app``, ``k8s:app in (a,b)``."""
    name = f"{match.source}:{match.key}"
    values = sorted(match.values)
    match match.op:
        case "in" if len(values) == 1:
            return f"{name}={values[0]}"
        case "in":
            return f"{name} in ({','.join(values)})"
        case "notin":
            return f"{name} notin ({','.join(values)})"
        case "exists":
            return name
        case _:
            return f"!{name}"


def find_endpoint(endpoints: Iterable[Endpoint], name: str) -> Endpoint:
    """The endpoint of an id, or of ``namespace/pod``; NotFoundError."""
    known = list(endpoints)
    for endpoint in known:
        if name in (str(endpoint.id), str(endpoint.pod)):
            return endpoint
    ids = ", ".join(f"{one.id} ({one.pod})" for one in known) or "none"
    raise NotFoundError(f"there is no endpoint {name} on this node", hint=f"there are: {ids}")
