"""What a node answers for its pods: logs here; exec, attach and port-forward in ``tunnel``.

The server finds the pod's node, the node's unix socket (annotation `NODE_SOCKET`), and passes the request on under the
kubelet's own paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from glasshive.api.resources import NODE

from .status import StatusError, bad_request, not_found, unavailable

if TYPE_CHECKING:
    from .call import Call
    from .server import Api

Object = dict[str, Any]

#: Annotation of a Node: absolute path of the unix socket on which it serves the kubelet's paths.
NODE_SOCKET = "glasshive.io/node-socket"
_LOG_OPTIONS = ("follow", "previous", "timestamps", "tailLines", "sinceSeconds", "sinceTime", "limitBytes", "stream")


def pod_of(api: Api, call: Call) -> Object:
    """The pod that a call names; StatusError 404."""
    record = api.store.newest(call.served.table, (call.namespace or "", call.name or ""))
    if record is None:
        raise not_found(call.served.resource, call.name or "")
    return record.parse()


def pick_container(call: Call, pod: Object) -> str:
    """The container asked for, or the only (or default) one."""
    spec = pod.get("spec") or {}
    names = [
        c["name"] for group in ("containers", "initContainers", "ephemeralContainers") for c in spec.get(group) or []
    ]
    wanted = call.query.get("container", "")
    if wanted and wanted not in names:
        raise bad_request(f"container {wanted} is not valid for pod {call.name}")
    if wanted:
        return wanted
    main = [c["name"] for c in spec.get("containers") or []]
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if default in main:
        return str(default)
    if len(main) != 1:
        raise bad_request(f"a container name must be specified for pod {call.name}, choose one of: [{' '.join(main)}]")
    return str(main[0])


def node_socket(api: Api, call: Call, pod: Object) -> str:
    """Where the pod's node listens; StatusError 400 for a pod without a node, 503 for a silent node."""
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise bad_request(f"pod {call.name} does not have a host assigned")
    record = api.store.newest(api.registry.builtin(NODE).table, ("", node))
    path = ((record.parse()["metadata"].get("annotations") or {}).get(NODE_SOCKET)) if record else None
    if not path:
        raise unavailable(f"node {node} of pod {call.name} does not say where it listens (annotation {NODE_SOCKET})")
    return str(path)


async def log(api: Api, call: Call) -> web.StreamResponse:
    """GET of a container's log, streamed as the node gives it."""
    pod = pod_of(api, call)
    container, socket = pick_container(call, pod), node_socket(api, call, pod)
    path = f"/containerLogs/{quote(call.namespace or '')}/{quote(call.name or '')}/{quote(container)}"
    query = {name: call.query[name] for name in _LOG_OPTIONS if name in call.query}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=timeout) as session,
            session.get("http://node" + path, params=query) as answer,
        ):
            if answer.status != 200:
                raise _refused(answer.status, (await answer.text())[:2000], container, call)
            return await _pass_on(call, answer)
    except aiohttp.ClientConnectionError as error:
        raise unavailable(f"the node of pod {call.name} does not answer: {error}") from None


def _refused(code: int, text: str, container: str, call: Call) -> StatusError:
    reasons = {400: "BadRequest", 404: "NotFound"}
    message = text.strip() or f"the node refused the log of container {container} in pod {call.name}"
    return StatusError(code if code in reasons else 500, reasons.get(code, "InternalError"), message)


async def _pass_on(call: Call, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(call.request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response
