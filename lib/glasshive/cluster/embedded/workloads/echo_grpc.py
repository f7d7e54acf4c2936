"""The echo server's gRPC face. Imported only when a gRPC port is asked for: grpcio costs 10 MB and 100 ms."""

from __future__ import annotations

import json
import os
from concurrent import futures

import grpc

SERVICE = "glasshive.echo.v1.Echo"


def start(ports: list[int]) -> grpc.Server:
    """Serve unary ``glasshive.echo.v1.Echo/Echo``: bytes in, the same bytes out, with who answered in trailing
    metadata.
    """
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Echo": _handler()}),))
    for port in ports:
        server.add_insecure_port(f"[::]:{port}")
    server.start()
    return server


def _handler() -> grpc.RpcMethodHandler:
    who = json.dumps({"pod": os.environ.get("HOSTNAME", ""), "node": os.environ.get("GLASSHIVE_NODE", "")})

    def echo(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("who", who), ("peer", context.peer())))
        return request

    return grpc.unary_unary_rpc_method_handler(echo)
