"""Settings as they are now: the cluster's, over them the ConfigMap's, over these what this node was told; and options
of single endpoints, which outlive the agent in a small file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from glasshive.agent.policy.settings import (
    AUDIT_KEY,
    CONFIG_NAME,
    CONFIG_NAMESPACE,
    MODE_KEY,
    PolicySettings,
    merged,
)
from glasshive.api.resources import CONFIG_MAP
from glasshive.errors import UsageError
from glasshive.kube.client import Client
from glasshive.kube.informer import EventType, Informer
from glasshive.kube.objects import Object

NODE_MODE, NODE_AUDIT = "PolicyEnforcement", "PolicyAuditMode"
"""Names of the same settings for one node, and of the option of an endpoint."""

log = logging.getLogger(__name__)


class RuntimeSettings:
    """``now`` holds; ``changed`` is told what held before."""

    def __init__(
        self, client: Client, base: PolicySettings, file: Path, changed: Callable[[PolicySettings], None]
    ) -> None:
        self.now = base
        self._base = base
        self._cluster: dict[str, str] = {}
        self._node: dict[str, str] = {}
        self._file = file
        self._endpoints = _read(file)
        self._changed = changed
        self._informer = Informer(
            client,
            CONFIG_MAP,
            self._on_config,
            namespace=CONFIG_NAMESPACE,
            field_selector=f"metadata.name={CONFIG_NAME}",
        )

    def start(self) -> None:
        """Begin to follow the ConfigMap."""
        self._informer.start()

    async def stop(self) -> None:
        """Stop following."""
        await self._informer.stop()

    async def wait_synced(self, seconds: float) -> None:
        """Wait until the ConfigMap, or its absence, is known; DeadlineError."""
        await self._informer.wait_synced(seconds)

    # -- the node's

    def set_node(self, values: Mapping[str, str]) -> PolicySettings:
        """Settings for this node until its agent ends; UsageError, and nothing has changed then."""
        for key in values:
            if key not in (NODE_MODE, NODE_AUDIT):
                raise UsageError(f"{key}: no such setting", hint=f"there are {NODE_MODE} and {NODE_AUDIT}")
        merged(self._base, values, NODE_MODE, NODE_AUDIT)
        self._node |= values
        self._settle()
        return self.now

    # -- endpoints'

    def audit(self, owner: str) -> bool:
        """Whether an endpoint is in audit mode."""
        return self._endpoints.get(owner, self.now.audit)

    def set_audit(self, owner: str, audit: bool) -> None:
        """Set the option of one endpoint."""
        self._endpoints[owner] = audit
        self._save()

    def forget(self, owner: str) -> None:
        """An endpoint is no more."""
        if self._endpoints.pop(owner, None) is not None:
            self._save()

    def _save(self) -> None:
        scratch = self._file.with_suffix(".new")
        scratch.write_bytes(orjson.dumps({owner: {NODE_AUDIT: value} for owner, value in self._endpoints.items()}))
        scratch.rename(self._file)

    # -- the cluster's

    def _on_config(self, _: EventType, __: Object | None, new: Object | None) -> None:
        self._cluster = dict((new or {}).get("data") or {})
        self._settle()

    def _settle(self) -> None:
        before = self.now
        try:
            cluster = merged(self._base, self._cluster, MODE_KEY, AUDIT_KEY)
        except UsageError as error:
            log.warning("ConfigMap %s/%s: %s: it is ignored", CONFIG_NAMESPACE, CONFIG_NAME, error)
            cluster = before
        self.now = merged(cluster, self._node, NODE_MODE, NODE_AUDIT)
        if self.now != before:
            self._changed(before)


def _read(file: Path) -> dict[str, bool]:
    """Options of endpoints from an earlier life."""
    try:
        found = orjson.loads(file.read_bytes())
        return {str(owner): bool(options[NODE_AUDIT]) for owner, options in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s is not readable (%s): endpoints have no options of their own", file, error)
        return {}
