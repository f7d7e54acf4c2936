"""Putting Glasshive's own CustomResourceDefinitions into the cluster when the operator starts."""

from __future__ import annotations

import asyncio

from glasshive.api import crds
from glasshive.api.resources import CUSTOM_RESOURCE_DEFINITION
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.objects import Object


async def apply_definitions(client: Client) -> None:
    """Create or update all definitions, side by side. Other fields of existing ones (foreign labels ...) stay."""
    await asyncio.gather(*(_apply(client, definition) for definition in crds()))


async def _apply(client: Client, definition: Object) -> None:
    try:
        await client.create(CUSTOM_RESOURCE_DEFINITION, definition)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        # A merge patch sets the whole list of versions and writes nothing when all is as it should be.
        name = definition["metadata"]["name"]
        await client.patch(CUSTOM_RESOURCE_DEFINITION, name, {"spec": definition["spec"]})
