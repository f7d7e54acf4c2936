"""Policies of addresses and redirects that make no sense say so themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from control_plane import Cluster, eventually, get, play, reported
from glasshive.api.l2_announcement_policy import CILIUM_L2_ANNOUNCEMENT_POLICY as L2
from glasshive.api.load_balancer_pool import CILIUM_LOAD_BALANCER_IP_POOL as POOL
from glasshive.api.local_redirect_policy import CILIUM_LOCAL_REDIRECT_POLICY as REDIRECT
from glasshive.api.resources import SERVICE, Resource


def says(  # noqa: PLR0917 - one sentence
    c: Cluster, resource: Resource, name: str, status: str, text: str, kind: str = "Valid"
) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        found = await get(c, resource, name) or {}
        listed = (found.get("status") or {}).get("conditions") or []
        return any(one["type"] == kind and one["status"] == status and text in one["message"] for one in listed)

    return check


def redirect(name: str, front: Any, **more: Any) -> Any:
    backend = {"localEndpointSelector": {}, "toPorts": [{"port": "80", "protocol": "TCP"}]}
    return REDIRECT.object(name, spec={"redirectFrontend": front, "redirectBackend": backend, **more})


def test_announcement_policies_are_judged(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(L2, L2.object("odd", spec={"loadBalancerIPs": True, "interfaces": ["eth["]}))
        await c.client.create(L2, L2.object("empty", spec={}))
        await c.client.create(L2, L2.object("good", spec={"externalIPs": True}))
        await eventually(says(c, L2, "odd", "False", "'eth[' is no regular expression"))
        await eventually(says(c, L2, "empty", "False", "neither spec.loadBalancerIPs nor spec.externalIPs"))
        await eventually(says(c, L2, "good", "True", "makes sense"))
        await eventually(reported(c, "InvalidPolicy", "no regular expression"))
        await c.client.patch(L2, "odd", {"spec": {"interfaces": ["eth"]}})
        await eventually(says(c, L2, "odd", "True", "makes sense"))

    play(tmp_path, body, nodes=1)


def test_redirect_policies_are_judged_with_their_service(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        by_service = {"serviceMatcher": {"serviceName": "web", "namespace": "default"}}
        await c.client.create(REDIRECT, redirect("web", by_service, skipRedirectFromBackend=True))
        await eventually(says(c, REDIRECT, "web", "False", "there is no Service default/web"))
        spec = {"type": "NodePort", "ports": [{"port": 80}]}
        await c.client.create(SERVICE, SERVICE.object("web", spec=spec))
        await eventually(says(c, REDIRECT, "web", "False", "is of type NodePort; only ClusterIP"))
        await c.client.patch(SERVICE, "web", {"spec": {"type": "ClusterIP"}}, "default")
        await eventually(says(c, REDIRECT, "web", "True", "skipRedirectFromBackend is not carried out yet"))
        await c.client.create(REDIRECT, redirect("both", {}))
        await eventually(says(c, REDIRECT, "both", "False", "must have addressMatcher or serviceMatcher"))

    play(tmp_path, body, nodes=1)


def test_a_pool_with_a_block_that_is_none_is_not_used(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        blocks = [{"cidr": "10.9.0.0/24"}, {"start": "10.9.1.9", "stop": "10.9.1.1"}]
        await c.client.create(POOL, POOL.object("odd", spec={"blocks": blocks}))
        await eventually(says(c, POOL, "odd", "True", "spec.blocks[1]: 10.9.1.9-10.9.1.1", "cilium.io/PoolConflict"))
        await eventually(reported(c, "PoolConflict", "ends before it begins"))

    play(tmp_path, body, nodes=1)
