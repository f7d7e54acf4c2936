"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (cilium.io/v2) -> rules.

One section rule becomes one ``Rule``, or two where only a part of its ports needs a proxy. Semantics and the errors
that are reproduced: reference/features.md, 2.5 and 2.6.
"""

from __future__ import annotations

from typing import Any

from glasshive.api import cilium_policy_l7, policy_ports
from glasshive.api.cilium_policy_peers import read_peers
from glasshive.api.policy_reading import Reading
from glasshive.api.policy_selectors import cilium_matches, subject_matches
from glasshive.model.labels import SOURCE_RESERVED
from glasshive.model.policy import Action, DefaultDeny, Direction, Ports, Rule, RuleOrigin, Subject, SubjectKind

Object = dict[str, Any]
CLUSTERWIDE = "CiliumClusterwideNetworkPolicy"
_SECTIONS = (
    ("ingress", Direction.INGRESS, Action.ALLOW),
    ("ingressDeny", Direction.INGRESS, Action.DENY),
    ("egress", Direction.EGRESS, Action.ALLOW),
    ("egressDeny", Direction.EGRESS, Action.DENY),
)
_EXTENDED = (policy_ports.VRRP, policy_ports.IGMP)
Read = tuple[list[Rule], list[DefaultDeny]]


def read(obj: Object, reading: Reading) -> Read:
    """Rules and default denies of an object that fits ``cilium_policy_schema.SCHEMA``."""
    rules: list[Rule] = []
    denies: list[DefaultDeny] = []
    specs = [(-1, "spec", obj.get("spec"))]
    specs += [(at, f"specs[{at}]", spec) for at, spec in enumerate(obj.get("specs") or ())]
    present = [(number, path, spec) for number, path, spec in specs if spec is not None]
    if not present:
        reading.error("", "spec or specs must be provided")
    for number, path, spec in present:
        _Spec(spec, number, path, reading).read(rules, denies)
    return rules, denies


class _Spec:
    """One ``spec`` while it is read."""

    def __init__(self, spec: Object, number: int, path: str, reading: Reading) -> None:
        self._spec = spec
        self._number = number
        self._path = path
        self._reading = reading
        self._subject = self._read_subject()
        self._init = any(one.source == SOURCE_RESERVED and one.key == "init" for one in self._subject.matches)

    def read(self, rules: list[Rule], denies: list[DefaultDeny]) -> None:
        """Append what the spec says."""
        wanted = self._spec.get("enableDefaultDeny") or {}
        filled = [(*one, rules_of) for one in _SECTIONS if (rules_of := self._spec.get(one[0]))]
        if not filled and not any(wanted.values()) and not self._doubtful():
            empty = next((f"; an empty list is none: to refuse all {name} write {name}: [{{}}]"
                          for name in ("ingress", "egress") if self._spec.get(name) is not None), "")  # fmt: skip
            text = f"rule must have at least one of Ingress, IngressDeny, Egress, EgressDeny{empty}"
            self._reading.error(self._path, text)
        if filled:
            self._say_unused(wanted)
        directions = {direction for _, direction, _, _ in filled}
        for direction in Direction:
            given = wanted.get(direction.value)
            if direction in directions if given is None else given:
                denies.append(DefaultDeny(self._reading.ref, self._subject, direction))
        for name, direction, action, rules_of in filled:
            for at, rule in enumerate(rules_of):
                rules += self._rules(rule, at, name, direction, action)

    def _doubtful(self) -> bool:
        return any(self._reading.doubts(f"{self._path}.{name}") for name, _, _ in _SECTIONS)

    def _say_unused(self, wanted: Object) -> None:
        for name in ("ingress", "egress"):
            if self._spec.get(name) == [] and not wanted.get(name):
                text = f"is an empty list and refuses nothing: to refuse all {name} write {name}: [{{}}]"
                self._reading.warn(f"{self._path}.{name}", text)

    def _read_subject(self) -> Subject:
        pods, nodes, reading = self._spec.get("endpointSelector"), self._spec.get("nodeSelector"), self._reading
        if pods is None and nodes is None:
            reading.error(self._path, "rule must have one of EndpointSelector or NodeSelector")
        elif pods is not None and nodes is not None:
            reading.error(self._path, "rule cannot have both EndpointSelector and NodeSelector")
        elif nodes is not None:
            path = f"{self._path}.nodeSelector"
            if reading.ref.kind != CLUSTERWIDE:
                reading.error(path, f"rule cannot have NodeSelector: host policies are {CLUSTERWIDE} objects")
            return Subject(SubjectKind.NODE, cilium_matches(nodes, path, reading))
        elif pods is not None:
            return Subject(SubjectKind.ENDPOINT, subject_matches(pods, f"{self._path}.endpointSelector", reading))
        return Subject(SubjectKind.ENDPOINT)

    def _rules(self, rule: Object, at: int, section: str, direction: Direction, action: Action) -> list[Rule]:
        path = f"{self._path}.{section}[{at}]"
        deny, word = action is Action.DENY, "to" if direction is Direction.EGRESS else "from"
        l3 = read_peers(rule, word, path, self._reading, init=self._init, deny=deny)
        groups = self._ports(rule, path, direction, action)
        if groups is None:
            if not l3.given:
                self._say_empty(rule, path, action)
                return []
            groups = {frozenset(): None}
        needs = frozenset(filter(None, (l3.need, self._authentication(rule, path))))
        peers = None if l3.peers is None else tuple(dict.fromkeys(l3.peers))
        origin = RuleOrigin(self._reading.ref, section, at, self._number)
        return [
            Rule(origin, self._subject, direction, action, peers, _distinct(ports), order=at, needs=needs | more)
            for more, ports in groups.items()
        ]

    def _say_empty(self, rule: Object, path: str, action: Action) -> None:
        if self._reading.at_fault(path):
            return
        if action is Action.DENY:
            self._reading.warn(path, "denies nothing: it names neither peers nor ports")
        elif rule:
            self._reading.warn(path, "allows nothing: it names neither peers nor ports")

    def _authentication(self, rule: Object, path: str) -> str:
        if (rule.get("authentication") or {}).get("mode", "disabled") == "disabled":
            return ""
        self._reading.lacks(f"{path}.authentication", "authentication")
        return "authentication"

    def _ports(
        self, rule: Object, path: str, direction: Direction, action: Action
    ) -> dict[frozenset[str], list[Ports] | None] | None:
        """Ports by what they need; None where the rule does not speak of ports."""
        groups, icmps = rule.get("toPorts"), rule.get("icmps")
        if groups and icmps:
            self._reading.error(
                f"{path}.icmps",
                "the ICMPs block may only be present without ToPorts. Define a separate rule to use ToPorts.",
            )
        if not groups and not icmps:
            return None
        found: dict[frozenset[str], list[Ports] | None] = {}
        for at, group in enumerate(groups or ()):
            here = f"{path}.toPorts[{at}]"
            needs = cilium_policy_l7.needs_of(
                group, here, self._reading, egress=direction is Direction.EGRESS,
                host=self._subject.kind is SubjectKind.NODE,
            )  # fmt: skip
            if not group.get("ports") and not self._reading.at_fault(here):
                self._say_portless(here, action)
            self._add(found, needs, self._group_ports(group, here, action))
        for at, block in enumerate(icmps or ()):
            fields = block.get("fields") or ()
            here = f"{path}.icmps[{at}].fields"
            types = (policy_ports.icmp_types(one, f"{here}[{n}]", self._reading) for n, one in enumerate(fields))
            self._add(found, frozenset(), [one for one in types if one is not None])
        return found

    def _group_ports(self, group: Object, path: str, action: Action) -> list[Ports]:
        found = []
        for at, one in enumerate(group.get("ports") or ()):
            here = f"{path}.ports[{at}]"
            port = policy_ports.cilium_port(one, here, self._reading)
            if port is None:
                continue
            if self._extended(port):
                self._reading.lacks(f"{here}.protocol", "extended-protocols", deny=action is Action.DENY)
            found.append(port)
        return found

    def _extended(self, port: Ports) -> bool:
        return port.protocol in _EXTENDED and not self._reading.options.extended_protocols

    def _add(self, found: dict[frozenset[str], list[Ports] | None], needs: frozenset[str], ports: list[Ports]) -> None:
        for one in ports or ():
            own = needs | {"extended-protocols"} if self._extended(one) else needs
            held = found.setdefault(own, [])
            assert held is not None
            held.append(one)
        if not ports:
            found.setdefault(needs, [])

    def _say_portless(self, path: str, action: Action) -> None:
        text = 'names no ports and so matches nothing; for every port write port "0"'
        if action is Action.DENY:
            self._reading.error(path, text)
        else:
            self._reading.warn(path, text)


def _distinct(ports: list[Ports] | None) -> tuple[Ports, ...] | None:
    if ports is None or policy_ports.EVERYTHING in ports:
        return None
    return tuple(dict.fromkeys(ports))
