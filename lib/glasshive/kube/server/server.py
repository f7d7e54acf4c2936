"""The server: listeners, authentication, dispatch, and what every handler works with (`Api`).

A request goes: listener -> `Server._answer` (who asks, what was refused) -> `Server._dispatch` (what is asked) -> a
handler in ``read``, ``write``, ``patch``, ``delete``, ``subresources`` or ``discovery``.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket as sockets
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from glasshive.api.resources import BINDING, Resource

from . import admission, delete, discovery, patch, read, reviews, rules, subresources, write
from .bootstrap import bootstrap
from .call import Call, locate
from .crd import Follower
from .fieldset import leaves
from .log import DELETED, Key
from .managers import Managers, owned
from .registry import Registry, Served
from .respond import refusal
from .schema import ANY, Node, missing
from .service_ip import Allocator
from .status import FieldError, Object, StatusError, internal, method_not_allowed, unauthorized
from .store import Event, Record, Store, Table
from .watch import Subscription

_log = logging.getLogger(__name__)
_OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})


class Api:
    """What handlers work with: store, registry, allocators, schemas, clock."""

    def __init__(self, store: Store, service_cidrs: Sequence[str], token: str | None) -> None:
        self._token = token
        self.store = store
        self.registry = Registry(store)
        self.services = Allocator(service_cidrs)
        self.stopping = False
        self._streams: set[Subscription] = set()

    def knows_token(self, token: str) -> bool:
        """Whether this is the cluster's bearer token."""
        return self._token is not None and hmac.compare_digest(token.encode(), self._token.encode())

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)

    def stamp(self, later: timedelta = timedelta()) -> str:
        """The time as objects write it, to the second."""
        return (datetime.now(UTC) + later).strftime("%Y-%m-%dT%H:%M:%SZ")

    def schema(self, served: Served) -> Node | None:
        """The schema of a resource."""
        return served.node

    def defaults(self, served: Served, obj: Object) -> None:
        """Fill in the defaults that a custom resource's schema holds."""
        if served.custom is not None:
            served.custom.fill(obj)

    def faults(self, served: Served, obj: Object, old: Object | None) -> list[FieldError]:
        """Faults that the schema and the kind's own rules find."""
        if served.custom is not None:
            return served.custom.faults(obj, old)
        found = list(missing(served.node, obj)) if served.node is not None else []
        return found or rules.errors(served.resource.group_resource, obj, old)

    def managed_update(self, call: Call, obj: Object, old: Object) -> None:
        """Note who changed which fields, for objects that keep such a record (see ``managers``)."""
        before, after = old["metadata"].get("managedFields"), obj["metadata"].get("managedFields")
        if after == [{}] or not before:
            obj["metadata"].pop("managedFields", None)
            return
        managers = Managers(obj["metadata"] if after else old["metadata"])
        node = self.schema(call.served) or ANY
        who = (call.manager, "Update", call.subresource)
        managers.note_update(
            who, call.served.resource.api_version, self.stamp(), owned(leaves(node, old)), owned(leaves(node, obj))
        )
        managers.write(obj["metadata"])

    async def put(self, served: Served, key: Key, obj: Object, old: Object | None) -> Record:
        """Store a new version; what admission took for it is given back when that fails."""
        try:
            return await self.store.put(served.table, key, obj)
        except StatusError:
            self.give_back(served, obj, old)
            raise

    def give_back(self, served: Served, obj: Object, old: Object | None) -> None:
        """Free what admission took for a version that is not stored."""
        if served.resource.group_resource == "services":
            self.services.release(obj, keep=old)

    async def remove(self, served: Served, key: Key, obj: Object) -> Record:
        """Remove an object whose last state is ``obj``."""
        return await self.store.remove(served.table, key, obj)

    def follow_service(self, event: Event) -> None:
        """Free the addresses that a Service gave up."""
        if event.action == DELETED:
            self.services.release(event.record.parse())
        elif event.prev is not None:
            self.services.release(event.prev.parse(), keep=event.record.parse())

    @contextmanager
    def following(self, stream: Subscription) -> Iterator[None]:
        """Have the stream woken when the server stops."""
        self._streams.add(stream)
        try:
            yield
        finally:
            self._streams.discard(stream)

    def end_streams(self, table: Table) -> None:
        """End the watches of a table whose resource is no longer served."""
        for stream in self._streams:
            if stream.table is table:
                stream.end()

    def stop(self) -> None:
        """End all streams."""
        self.stopping = True
        for stream in self._streams:
            stream.ring()


class Server:
    """The embedded API server.

    ``store_path``: the SQLite file. ``tls``: certificate and key file for the TCP listener on ``host``:``port`` (0: any
    free port; see `port`); without it TCP speaks plain HTTP. ``port`` None: no TCP. ``token``: the bearer token that
    TCP demands. ``socket``: path of a unix socket, plain HTTP, guarded by its mode 0600. ``service_cidrs``: ranges of
    cluster IPs, the primary family first.
    """

    def __init__(
        self,
        store_path: Path | str,
        *,
        tls: tuple[Path | str, Path | str] | None = None,
        token: str | None = None,
        host: str = "127.0.0.1",
        port: int | None = 0,
        socket: Path | str | None = None,
        service_cidrs: Sequence[str] = ("10.96.0.0/16", "fd00:10:96::/112"),
    ) -> None:
        self._store_path = Path(store_path)
        self._tls = tls
        self._token = token
        self._host = host
        self._wanted_port = port
        self._socket = Path(socket) if socket is not None else None
        self._service_cidrs = tuple(service_cidrs)
        self._runner: web.ServerRunner | None = None
        self.port = 0
        self.api: Api | None = None
        self._definitions: Follower | None = None

    async def start(self) -> None:
        """Open the store and listen. Raises OSError when an address is taken, sqlite3.Error for a broken store."""
        api = self.api = Api(Store(self._store_path), self._service_cidrs, self._token)
        self._definitions = Follower(api)
        self._definitions.start()
        await bootstrap(api)
        # Without cancellation the watch of a client that left would listen on until its next event.
        server = web.Server(self._answer, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=2.0, handle_signals=False)
        await self._runner.setup()
        if self._socket is not None:
            await self._listen_unix(self._socket)
        if self._wanted_port is not None:
            context = None
            if self._tls is not None:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(*self._tls)
            site = web.TCPSite(self._runner, self._host, self._wanted_port, ssl_context=context, backlog=1024)
            await site.start()
            self.port = self._runner.addresses[-1][1]

    async def _listen_unix(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            path.unlink()
        listener = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM | sockets.SOCK_NONBLOCK)
        listener.bind(str(path))
        path.chmod(0o600)
        assert self._runner is not None
        await web.SockSite(self._runner, listener, backlog=1024).start()

    async def stop(self) -> None:
        """End watches, finish requests, write everything, close."""
        if self.api is not None:
            self.api.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._definitions is not None:
            await self._definitions.stop()
        if self.api is not None:
            await self.api.store.close()
        if self._socket is not None:
            with suppress(FileNotFoundError):
                self._socket.unlink()

    def _authenticate(self, request: web.BaseRequest) -> None:
        if request.path in _OPEN_PATHS:
            return
        given = request.headers.get("Authorization", "")
        transport = request.transport
        over_unix = transport is not None and isinstance(transport.get_extra_info("sockname"), str)
        if over_unix and not given:
            return
        kind, _, token = given.partition(" ")
        if self._token is None and not over_unix:
            return
        if kind.lower() != "bearer" or self.api is None or not self.api.knows_token(token.strip()):
            raise unauthorized()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            self._authenticate(request)
            return await self._dispatch(request)
        except StatusError as error:
            return refusal(error)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - the last wall: clients get a Status, the log gets the trace
            _log.exception("%s %s", request.method, request.path_qs)
            return refusal(internal(f"{type(error).__name__} while handling {request.method} {request.path}"))

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self.api is not None
        parts = request.rel_url.raw_path.strip("/").split("/")
        if not (len(parts) > 2 and parts[0] == "api") and not (len(parts) > 3 and parts[0] == "apis"):
            return await discovery.answer(self.api, request, parts)
        call = locate(request, self.api.registry, parts)
        return await _handle(self.api, call)


def _creator(resource: Resource) -> Any:
    """What answers a POST to a collection."""
    if resource == BINDING:
        return subresources.bind
    return reviews.answer if resource.plural in reviews.REVIEWS else write.create


async def _handle(api: Api, call: Call) -> web.StreamResponse:
    """Find verb and handler of a call."""
    resource, method = call.served.resource, call.request.method
    if call.subresource:
        return await subresources.handle(api, call)
    handlers: dict[str, Any]
    if call.name is not None:
        handlers = {
            "GET": ("get", read.get), "PUT": ("update", write.update), "PATCH": ("patch", patch.patch),
            "DELETE": ("delete", delete.delete),
        }  # fmt: skip
        if method == "DELETE":
            admission.deletable(call)
        if method == "GET" and call.flag("watch"):
            handlers["GET"] = ("watch", read.watch)
    else:
        handlers = {
            "GET": ("watch", read.watch) if call.flag("watch") else ("list", read.list_),
            "POST": ("create", _creator(resource)), "DELETE": ("deletecollection", delete.delete_collection),
        }  # fmt: skip
        if method == "POST" and resource.namespaced and call.namespace is None:
            raise method_not_allowed(resource)
    verb, handler = handlers.get(method, ("", None))
    if handler is None or verb not in resource.verbs:
        raise method_not_allowed(resource)
    response: web.StreamResponse = await handler(api, call)
    return response
