"""The feature itself: one engine per node, told of objects, identities and endpoints; its deltas go to the tables.

What an earlier agent left in the kernel stays in force until everything is known: then the whole is computed once and
the tables are brought there without a gap. While the API is away nothing changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from glasshive.agent import background
from glasshive.agent.config import AgentConfig
from glasshive.agent.datapath import Datapath
from glasshive.agent.objects import needed
from glasshive.agent.pod_identities import PodIdentities
from glasshive.agent.policy import settings as told
from glasshive.agent.policy.cast import Cast
from glasshive.agent.policy.kept import KeptForms
from glasshive.agent.policy.kernel_rows import KernelRows
from glasshive.agent.policy.runtime import RuntimeSettings
from glasshive.agent.policy.settings import PolicySettings
from glasshive.agent.policy.sources import PolicySources
from glasshive.agent.policy.tables import Hands, PolicyTables
from glasshive.agent.view import ClusterView
from glasshive.api.policy_reading import Options
from glasshive.endpoint.table import Sandbox, owner_of
from glasshive.errors import DeadlineError, GlasshiveError, NotFoundError
from glasshive.kube.client import Client
from glasshive.maps import policy as maps
from glasshive.maps.policy import PolicyMaps
from glasshive.model.address import Prefix
from glasshive.model.endpoint import NOT_ENFORCED, Endpoint, Enforcement
from glasshive.model.policy import DefaultDeny, Direction, Match, ObjectRef, PolicyObject, Subject, SubjectKind
from glasshive.policy.delta import Assignment, Delta, peer_value, port_values
from glasshive.policy.engine import Change, Engine, PutObject, PutSubject, RemoveObject, RemoveSubject, SetMode
from glasshive.policy.prefixes import LOCAL_SCOPE
from glasshive.policy.resolve import Settings

RESYNC_SECONDS = 1.0
"""How soon tables that could not be written are tried again."""
HOST = "host"
"""The node itself as a subject; endpoints are called by their sandbox."""

log = logging.getLogger(__name__)

_INIT = Subject(SubjectKind.ENDPOINT, (Match("reserved", "init", "exists"),))
_INIT_REF = ObjectRef("Setting", "", "init-default-deny")
INIT_DENY = PolicyObject(
    _INIT_REF,
    default_denies=tuple(DefaultDeny(_INIT_REF, _INIT, direction) for direction in Direction),
    description="An endpoint whose labels are not known yet may do only what rules say of reserved:init.",
)


class PolicyFeature:
    """Feature "policy"."""

    engine: Engine | None = None

    def __init__(
        self, config: AgentConfig, client: Client, datapath: Datapath, view: ClusterView, identities: PodIdentities
    ) -> None:
        self._datapath = datapath
        self._config = config
        found = [needed(datapath.objects, "maps", name) for name in maps.NAMES]
        self.maps = PolicyMaps(*found)
        self.tables = PolicyTables(KernelRows(self.maps), Hands(self._flip, self._blocks, self._released))
        options = Options(cluster=config.cluster)
        self.sources = PolicySources(
            client, options, self._on_objects, KeptForms(config.node_dir / "kept-policies.json"), view.nodes
        )
        view.on_node(lambda name, _: self.sources.node_moved(name))
        self.cast = Cast(
            datapath, view, identities, self.submit, nodes_by_cidr=config.policy_cidr_match_mode == "nodes"
        )
        base = PolicySettings(told.mode_of(config.policy_enforcement), config.policy_audit)
        self.runtime = RuntimeSettings(client, base, config.node_dir / "endpoint-options.json", self._on_settings)
        self.on_flip: list[Callable[[Endpoint], None]] = []
        """Told of an endpoint whose enforcement has changed."""
        self._assigned: dict[Any, Assignment] = {}
        self._trouble = ""
        self.init_identity = datapath.reserved.number("init")
        self._built = asyncio.Event()
        self._identities = identities
        self._task: asyncio.Task[None] | None = None
        self._resync_due = False
        self._compute_ms = 0.0

    # -- life

    async def start(self) -> None:
        """Begin to follow; the tables change only when everything is known."""
        self._datapath.endpoints.listeners.append(self._on_endpoint)
        self._datapath.ipcache.after_write = self.maps.bump_revision
        self.cast.start()
        self.runtime.start()
        self.sources.start()
        self._task = background.start(self._run(), "policy")

    async def stop(self) -> None:
        """Stop following; what is in the tables stays in force."""
        await background.stop(self._task)
        self._datapath.endpoints.listeners.remove(self._on_endpoint)
        self.tables.stop()
        await self.sources.stop()
        await self.runtime.stop()

    async def wait_built(self, seconds: float) -> None:
        """Wait until policies are in force as the API has them; DeadlineError."""
        try:
            await asyncio.wait_for(self._built.wait(), seconds)
        except TimeoutError:
            raise DeadlineError(f"policies are not known within {seconds:g} s") from None

    def status(self) -> dict[str, Any]:
        """How much there is, and what is wrong."""
        engine = self.engine
        return {
            "mode": str(self.runtime.now.mode),
            "audit": self.runtime.now.audit,
            "revision": self.maps.revision(),
            "ready": engine is not None,
            "objects": len(engine.book.objects()) - 1 if engine else 0,
            "policies": len({one.number for one in engine.assignments() if one.number}) if engine else 0,
            "identities": len(engine.peers) if engine else 0,
            "waitingSweeps": self.tables.waiting,
            "computedInMs": self._compute_ms,
            "trouble": self._trouble,
        }

    async def _run(self) -> None:
        """Build when all is known; later, mend what could not be written."""
        await self._identities.wait_complete()
        while not await self._sources_synced():
            log.warning("policies are not known yet: what is in force stays")
        self.sources.flush()
        self._build()
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            if self._resync_due:
                self._resync()

    async def _sources_synced(self) -> bool:
        with contextlib.suppress(DeadlineError):
            await self.sources.wait_synced(10.0)
            await self.runtime.wait_synced(10.0)
            return True
        return False

    def _build(self) -> None:
        engine = Engine(
            Settings(
                mode=self.runtime.now.mode,
                allow_localhost=self._config.allow_localhost != "policy",
                nodes_by_cidr=self._config.policy_cidr_match_mode == "nodes",
                dual_stack=self._config.dual_stack,
            ),
            taken=self.maps.numbers(),
            restored=self._restored(),
        )
        changes: list[Change] = [PutObject(INIT_DENY)]
        changes += [PutObject(one) for one in self.sources.in_force()]
        changes += self.cast.identities()
        changes.append(PutSubject(HOST, self.cast.host()))
        changes += [PutSubject(owner_of(one), self.cast.subject(one)) for one in self._datapath.endpoints]
        began = time.perf_counter()
        engine.apply(*changes)
        self._compute_ms = round((time.perf_counter() - began) * 1000, 2)
        self.engine = engine
        self._resync()
        self._built.set()

    def _restored(self) -> dict[Prefix, int]:
        """Identities that address blocks have in the kernel, from an earlier life."""
        entries = self._datapath.ipcache.kernel_entries()
        return {
            prefix: entry.identity for prefix, entry in entries.items() if entry.identity >> 24 == LOCAL_SCOPE >> 24
        }

    # -- changes

    def submit(self, *changes: Change) -> None:
        """Take changes in and have them in force when this returns, unless the tables cannot be written."""
        if self.engine is None:
            return  # the whole is computed when all is known
        began = time.perf_counter()
        delta = self.engine.apply(*changes)
        self._compute_ms = round((time.perf_counter() - began) * 1000, 2)
        if delta:
            self._write(delta)

    def _write(self, delta: Delta) -> None:
        try:
            self.tables.apply(delta)
        except GlasshiveError as error:
            self._failed(error)

    def _resync(self) -> None:
        engine = self.engine
        assert engine is not None
        rows = [change for policy in engine.rows() for change in policy.changes()]
        peers = {change.key: peer_value(change.after) for change in rows if change.after is not None}
        ports = {key: value for change in rows for key, value in port_values(change.key, change.after).items()}
        try:
            wrong = self.tables.resync(peers, ports, engine.blocks(), engine.assignments())
        except GlasshiveError as error:
            self._failed(error)
            return
        self._resync_due = False
        self._trouble = ""
        log.info("policy tables: %d rows were other than wanted", wrong)

    def _failed(self, error: GlasshiveError) -> None:
        log.error("policies are not in force as they should be, the old ones stay: %s", error)
        self._trouble = str(error)
        self._resync_due = True

    def _on_objects(self, put: list[PolicyObject], gone: list[ObjectRef]) -> None:
        self.submit(*(RemoveObject(ref) for ref in gone), *(PutObject(one) for one in put))

    def _on_settings(self, before: PolicySettings) -> None:
        if before.mode != self.runtime.now.mode:
            self.submit(SetMode(self.runtime.now.mode))
        for assignment in list(self._assigned.values()):
            self._flip(assignment)
        self.maps.bump_revision()

    # -- endpoints

    def admit(self, sandbox: Sandbox, identity: int) -> Enforcement:
        """The policy of an endpoint that is about to be made; its rows are in place when this returns.

        DeadlineError while policies are not known: a pod must not start without them.
        """
        if self.engine is None:
            raise DeadlineError("policies are not known yet", hint="the API has not told them; the pod is tried again")
        self.submit(PutSubject(sandbox.owner, self.cast.facts(identity, sandbox.pod.namespace, sandbox.pod.name)))
        if self._trouble:
            raise DeadlineError(f"policies cannot be put in force: {self._trouble}")
        return self._enforcement(sandbox.owner)

    def forget(self, owner: str) -> None:
        """The endpoint was not made, or is no more."""
        self.submit(RemoveSubject(owner))
        self._assigned.pop(owner, None)
        self.runtime.forget(owner)

    def enforcement_texts(self, endpoint: Endpoint) -> tuple[str, str]:
        """What people read of (ingress, egress): ``Enabled``, ``Disabled``, ``Disabled (Audit)``."""
        now = endpoint.enforcement
        on = "Disabled (Audit)" if now.audit else "Enabled"
        return on if now.ingress else "Disabled", on if now.egress else "Disabled"

    def subject_of(self, number: int) -> tuple[str, str]:
        """The engine's name of a local endpoint (0: the node itself), and what people call it. NotFoundError."""
        if not number:
            return HOST, f"node {self._config.node}"
        endpoint = self._datapath.endpoints.get(number)
        if endpoint is None:
            raise NotFoundError(f"endpoint {number} is not there any more")
        return owner_of(endpoint), str(endpoint.pod)

    def set_audit(self, endpoint: Endpoint, audit: bool) -> None:
        """Switch one endpoint's audit mode."""
        self.runtime.set_audit(owner_of(endpoint), audit)
        assignment = self._assigned.get(owner_of(endpoint))
        if assignment is not None:
            self._flip(assignment)
            self.maps.bump_revision()

    def _on_endpoint(self, old: Endpoint | None, new: Endpoint | None) -> None:
        if new is None and old is not None:
            self.forget(owner_of(old))
        elif old is not None and new is not None and old.identity != new.identity:
            self.submit(PutSubject(owner_of(new), self.cast.subject(new)))

    # -- the tables' hands

    def _enforcement(self, owner: str) -> Enforcement:
        found = self._assigned.get(owner)
        if found is None or not found.number:
            return NOT_ENFORCED
        return Enforcement(found.number, found.ingress, found.egress, self.runtime.audit(owner))

    def _flip(self, assignment: Assignment) -> bool:
        owner = assignment.subject
        assert isinstance(owner, str)
        self._assigned[owner] = assignment
        wanted = self._enforcement(owner)
        if owner == HOST:
            return self._datapath.set_host_enforcement(wanted)
        container_id, _, ifname = owner.rpartition("/")
        endpoint = self._datapath.endpoints.find(container_id, ifname)
        if endpoint is None or endpoint.enforcement == wanted:
            return False
        changed = self._datapath.endpoints.set_enforcement(endpoint, wanted)
        for listener in self.on_flip:
            listener(changed)
        return True

    def _blocks(self, found: Any) -> None:
        self._datapath.ipcache.set_cidrs(found)
        self._datapath.ipcache.flush()

    def _released(self, numbers: Any) -> None:
        if self.engine is not None:
            self.engine.released(numbers)
