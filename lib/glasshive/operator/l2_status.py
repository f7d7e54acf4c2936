"""Whether a CiliumL2AnnouncementPolicy makes sense is said in its condition Valid, and in an event when it does not."""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.l2_announcement_policy import CILIUM_L2_ANNOUNCEMENT_POLICY, policy_of
from glasshive.errors import UsageError
from glasshive.kube.objects import Key, Object, is_terminating
from glasshive.operator.conditions import with_condition
from glasshive.operator.controller import Context, Controller

COMPONENT = "l2-announcement-controller"
VALID = "Valid"


class L2StatusController(Controller):
    """Judges each policy by itself."""

    name: ClassVar[str] = "l2-status"
    workers: ClassVar[int] = 1

    def __init__(self, context: Context) -> None:
        self._policies = context.caches.of(CILIUM_L2_ANNOUNCEMENT_POLICY)
        super().__init__(context, [self._policies])
        self._policies.on_event(self.enqueue)

    async def reconcile(self, key: Key) -> float | None:
        """Say of one policy whether it makes sense."""
        obj = self._policies.get(key[1])
        if obj is None or is_terminating(obj):
            return None
        why = fault_of(obj)
        before = (obj.get("status") or {}).get("conditions") or []
        wanted = with_condition(
            before, VALID, "False" if why else "True", "InvalidPolicy" if why else "Valid",
            f"{why}: nothing is announced" if why else "the policy makes sense",
        )  # fmt: skip
        if wanted != before:
            if why:
                self.context.events.warning(obj, "InvalidPolicy", why, COMPONENT)
            await self._policies.patch(obj, {"status": {"conditions": wanted}}, subresource="status")
        return None


def fault_of(obj: Object) -> str:
    """Why nothing can come of a policy; "" if something can. Pure."""
    try:
        policy = policy_of(obj)
    except UsageError as error:
        return error.message
    if not policy.balancer and not policy.external:
        return "neither spec.loadBalancerIPs nor spec.externalIPs is true"
    return ""
