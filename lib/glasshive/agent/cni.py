"""How pods get and lose their network: the CNI commands, done on the node's endpoint table.

``handle`` is the one entry point, for the embedded kubelet in this process as for a runtime that calls the plugin
(``cni_plugin``), whose request arrives over node.sock. It never raises: failures are CNI error results.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from glasshive.agent.cni_protocol import CURRENT, CniError, Code, Request, result, versions
from glasshive.agent.node_network import NodeNetwork
from glasshive.endpoint.table import Sandbox, owner_of
from glasshive.errors import DeadlineError, ExhaustedError, GlasshiveError, KernelError, NotFoundError
from glasshive.model.endpoint import Endpoint, Enforcement, PodRef

log = logging.getLogger(__name__)


class Admission(Protocol):
    """Who sees to it that an endpoint's policy is in place before the endpoint is."""

    def admit(self, sandbox: Sandbox, identity: int) -> Enforcement:
        """The policy of an endpoint that is about to be made. GlasshiveError when it cannot be had yet."""

    def forget(self, owner: str) -> None:
        """It was not made."""


IdentityOf = Callable[[PodRef], Awaitable[int]]
"""Answers with ``init`` when it cannot know better in time; the caller is corrected later."""


class CniServer:
    """Does CNI requests for one node. Requests must come from one event loop."""

    def __init__(self, datapath: NodeNetwork, identity_of: IdentityOf, admission: Admission | None = None) -> None:
        self._datapath = datapath
        self._admission = admission
        self._identity_of = identity_of
        self.ready: Callable[[], str] = lambda: ""
        """Says what is missing for ADD to work, "" when nothing is."""

    async def handle(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do one request; its result or its error result."""
        version, asked = CURRENT, Request("request")
        try:
            asked = Request.from_json(request)
            version = asked.version
            return await self._do(asked)
        except CniError as error:
            failure = error
        except ExhaustedError as error:
            failure = CniError(Code.EXHAUSTED, str(error))
        except NotFoundError as error:
            failure = CniError(Code.INVALID_ENVIRONMENT, str(error))
        except KernelError as error:
            failure = CniError(Code.KERNEL, str(error))
        except GlasshiveError as error:
            failure = CniError(Code.IO_FAILURE, str(error))
        except OSError as error:
            failure = CniError(Code.IO_FAILURE, f"{asked.command} failed: {error}")
        log.warning("CNI %s of %r: %s", asked.command, asked.container_id, failure)
        return failure.to_json(version)

    async def _do(self, request: Request) -> dict[str, Any]:
        match request.command:
            case "ADD":
                return await self._add(request)
            case "DEL":
                return self._delete(request)
            case "CHECK":
                return self._check(request)
            case "STATUS":
                return self._status()
            case "GC":
                return await self._collect(request)
        return versions()

    async def _add(self, request: Request) -> dict[str, Any]:
        if missing := self.ready():
            raise CniError(Code.TRY_AGAIN_LATER, f"node {self._datapath.config.node} is not ready: {missing}")
        table = self._datapath.endpoints
        await self._datapath.departures.settled(request.container_id, request.ifname)
        known = table.find(request.container_id, request.ifname)
        if known is not None:
            return self._again(known, request)
        pod = _pod(request)
        if not os.path.exists(request.netns):  # noqa: PTH110 - a Path per pod costs more than the call
            raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_NETNS {request.netns} does not exist")
        identity = await self._identity_of(pod)
        if (known := table.find(request.container_id, request.ifname)) is not None:
            return self._again(known, request)  # a second ADD came while this one waited for an identity
        self._datapath.hurry()
        sandbox = Sandbox(request.container_id, request.ifname, request.netns, pod)
        endpoint = self._attach(sandbox, identity)
        return result(endpoint, table.gateways(), request.version)

    def _attach(self, sandbox: Sandbox, identity: int) -> Endpoint:
        """The endpoint's policy is in place before the endpoint is."""
        table, admission = self._datapath.endpoints, self._admission
        if admission is None:
            return table.attach(sandbox, identity)
        try:
            enforcement = admission.admit(sandbox, identity)
        except DeadlineError as error:
            raise CniError(Code.TRY_AGAIN_LATER, f"no policy for {sandbox.pod} yet: {error}") from error
        try:
            return table.attach(sandbox, identity, enforcement)
        except Exception:
            admission.forget(sandbox.owner)
            raise

    def _again(self, known: Endpoint, request: Request) -> dict[str, Any]:
        """ADD repeated: the same answer if all is well, as when an agent died before its answer got through."""
        wrong = self._datapath.endpoints.check(known, request.netns)
        if wrong:
            text = f"container {request.container_id} has an endpoint already"
            raise CniError(Code.CHECK_FAILED, text, "; ".join(wrong))
        return result(known, self._datapath.endpoints.gateways(), request.version)

    def _delete(self, request: Request) -> dict[str, Any]:
        """Idempotent: what is gone already is no error, and neither is a container that was never here.

        The pod is cut off when this returns; its device follows within some 100 ms, or with its namespace.
        """
        endpoint = self._datapath.endpoints.find(request.container_id, request.ifname)
        if endpoint is not None:
            self._datapath.departures.remove(endpoint)
        return {}

    def _check(self, request: Request) -> dict[str, Any]:
        endpoint = self._datapath.endpoints.find(request.container_id, request.ifname)
        if endpoint is None:
            raise CniError(Code.UNKNOWN_CONTAINER, f"container {request.container_id} has no endpoint {request.ifname}")
        wrong = self._datapath.endpoints.check(endpoint, request.netns)
        if wrong:
            raise CniError(Code.CHECK_FAILED, f"endpoint {endpoint.id} of {endpoint.pod} is damaged", "; ".join(wrong))
        return {}

    def _status(self) -> dict[str, Any]:
        if missing := self.ready():
            raise CniError(Code.NOT_AVAILABLE, f"node {self._datapath.config.node} is not ready: {missing}")
        return {}

    async def _collect(self, request: Request) -> dict[str, Any]:
        """Remove every endpoint that the runtime does not want any more, and wait until all have gone."""
        keep = {f"{container_id}/{ifname}" for container_id, ifname in request.attachments()}
        for endpoint in [one for one in self._datapath.endpoints if owner_of(one) not in keep]:
            self._datapath.departures.remove(endpoint)
        await self._datapath.departures.drained()
        return {}


def _pod(request: Request) -> PodRef:
    args = request.args
    name, namespace = args.get("K8S_POD_NAME", ""), args.get("K8S_POD_NAMESPACE", "")
    if not name or not namespace:
        raise CniError(Code.INVALID_ENVIRONMENT, "CNI_ARGS needs K8S_POD_NAMESPACE and K8S_POD_NAME")
    return PodRef(namespace, name, args.get("K8S_POD_UID", ""))
