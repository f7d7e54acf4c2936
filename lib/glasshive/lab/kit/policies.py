"""Policy in a lab: put it in force, see the rows that judge a pod light up, try who reaches whom, and ask why."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from glasshive.errors import NotFoundError
from glasshive.lab import enforcement, reasons
from glasshive.lab.kit.identities import Identities

if TYPE_CHECKING:
    from glasshive.widgets import MapTable, PolicyView


class Told(str):
    """Text that a cell may print, or leave as its last line: both show it as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Policies(Identities):
    """The part of a lab that is about policy."""

    _policy_seen: dict[str, dict[str, int]]

    def policy_view(self, pod: str, *, live: bool = False, per_second: float = 10.0) -> PolicyView:
        """Show the rows that judge a pod; those that have decided packets since the last look are marked.

        ``live`` keeps looking until the lab is reset, and lights a row up when it decides a packet.
        """
        from glasshive.widgets import PolicyView
        from glasshive.widgets.policy_view import counts, rows

        found = self.policy_of(pod)
        view = PolicyView(found, self._policy_seen.get(pod))
        self._policy_seen[pod] = counts(rows(found))
        self._views.append(view)
        return view.live(lambda: self.policy_of(pod), per_second=per_second) if live else view

    def policy_rows(self, pod: str, columns: Sequence[str] = (), **where: object) -> list[dict[str, Any]]:
        """Give the rows that judge a pod, those with these values in these columns.

        Columns: ``direction peer port verdict packets bytes rule identity labels policy``. No rows: no policy selects
        it.
        """
        from glasshive.widgets.policy_view import rows

        found = [row for row in rows(self.policy_of(pod)) if all(row[key] == value for key, value in where.items())]
        return [{key: row[key] for key in columns} for row in found] if columns else found

    def policy_of(self, pod: str) -> dict[str, Any]:
        """What its agent knows about a pod and its policy: ``identity labels policyIngress policyEgress map ...``."""
        node = self.status(pod).node
        if not node:
            raise NotFoundError(f"pod {pod!r} has no node yet")
        path = f"/v1/endpoints/{quote(f'{self.namespace}/{pod}')}"
        return dict(self.cluster.backend.node_request(node, "GET", path))

    def policy(self, *manifests: str | Mapping[str, Any]) -> list[str]:
        """Apply policies, in the lab's namespace if they have one, and wait until every node has them in force."""
        applied = []
        for manifest in manifests:
            source: Any = dict(manifest) if isinstance(manifest, Mapping) else manifest
            applied += self.cluster.apply(source, namespace=self.namespace)
        for one in applied:
            enforcement.mark(self.cluster, one, namespace=self.namespace)
        return [enforcement.wait_in_force(self.cluster, one) for one in applied]

    def no_policy(self, *names: str) -> str:
        """Delete policies of the lab's namespace, and those for the whole cluster that this lab has made, of any kind
        (all of them, if none is named); wait until they are out of force.
        """
        gone = enforcement.delete(self.cluster, self.namespace, names, every_wide=bool(self.entry.topology))
        return f"no longer in force: {', '.join(gone) or 'nothing, there was none'}"

    def enforce(self, mode: str) -> str:
        """Set the mode of the whole cluster: ``default``, ``always`` or ``never``. ``lab.reset()`` sets it back."""
        enforcement.set_mode(self.cluster, mode, namespace=self.namespace)
        return f"every node enforces policy in the mode {mode}"

    def enforced(self, *pods: str) -> MapTable:
        """Show for each of these pods, or for all of the lab, whether policy is enforced for what comes and goes."""
        from glasshive.widgets import MapTable

        rows = [
            {"pod": row["pod"], "ingress": row["policyIngress"], "egress": row["policyEgress"]}
            for row in self.cluster.endpoints()
            if row["namespace"] == self.namespace and (not pods or row["pod"] in pods)
        ]
        view = MapTable("what is enforced", sorted(rows, key=lambda row: str(row["pod"])))
        self._views.append(view)
        return view

    def relabel(self, pod: str, **labels: str | None) -> str:
        """Change labels of a pod (None takes one away), and wait until every node knows its new identity."""
        enforcement.relabel(self.cluster, self.namespace, pod, labels)
        return f"{pod}: {self.labels(pod)}"

    def labels(self, pod: str) -> str:
        """Give the labels that somebody chose for a pod, as its identity has them."""
        from glasshive.widgets.policy_view import peer_text

        found = self.policy_of(pod)
        return peer_text(found["labels"], int(found["identity"]), self.namespace)

    def reach(self, ways: Sequence[tuple[str, str]], *, port: int = 8080, family: str = "ipv4") -> MapTable:
        """Try for each (source, target) whether an HTTP request from a pod is answered by another, or by an address."""
        from glasshive.widgets import MapTable

        def attempt(way: tuple[str, str]) -> dict[str, Any]:
            address = way[1] if _is_address(way[1]) else self.address(way[1], family)
            url = f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"
            said = self.exec(way[0], ["curl", "-s", "-o", "/dev/null", "-m", "1", "-w", "%{http_code}", url])
            return {"from": way[0], "to": way[1], "port": port, "answer": "yes" if said.strip() == "200" else "none"}

        with ThreadPoolExecutor(max_workers=8) as pool:
            view = MapTable("who is answered", list(pool.map(attempt, ways)))
        self._views.append(view)
        return view

    def audit(self, pod: str, *, on: bool = True) -> str:
        """Switch audit mode of a pod: what its policy refuses passes, and is told. Needs no restart."""
        word = "Enabled" if on else "Disabled"
        path = f"/v1/endpoints/{quote(f'{self.namespace}/{pod}')}"
        self.cluster.backend.node_request(self.status(pod).node, "PATCH", path, {"PolicyAuditMode": word})
        return f"PolicyAuditMode of {pod}: {word}"

    def why(self, source: str, destination: str, packet: str) -> Told:
        """Say whether a connection between pods passes by the objects, why, and what the kernels said of the last.

        ``packet``: ``8080/TCP``, ``53/UDP``, ``ICMP``. The ends are pods of the lab, ``namespace/pod`` or addresses.
        """
        from glasshive.cluster import policy_flows
        from glasshive.widgets.policy_view import peer_text

        ends = self._full(source), self._full(destination)
        trace = self.cluster.policy_trace(*ends, packet)
        protocol, port = policy_flows.packet_of(packet)
        here, there = (frozenset(self._addresses_of(one)) for one in ends)
        nodes = [one.name for one in self.cluster.topology().nodes]
        wanted = policy_flows.Wanted(here, there, protocol, port)
        records = policy_flows.records(self.cluster.backend, nodes, wanted)
        names = {row["number"]: peer_text(row["labels"], row["number"], self.namespace)
                 for row in self.cluster.identities()}  # fmt: skip
        text = reasons.told(trace.text(), self.namespace, names)
        return Told("\n".join([text, *reasons.judgements(records)]))

    def _full(self, name: str) -> str:
        """A pod of the lab with its namespace; anything else as it is."""
        mine = {one.name for one in self.cluster.pods(self.namespace)}
        return f"{self.namespace}/{name}" if name in mine else name

    def _addresses_of(self, name: str) -> tuple[str, ...]:
        namespace, slash, pod = name.partition("/")
        found = [one for one in self.cluster.pods(namespace) if one.name == pod] if slash else []
        return tuple(found[0].addresses) if found else (name,)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
