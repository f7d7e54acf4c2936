"""Descriptions for ``kubectl explain`` name types and fields that exist."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from glasshive.api import resources
from glasshive.api.resources import Resource
from glasshive.kube.server.descriptions import DESCRIPTIONS
from glasshive.kube.server.schema import Node, builtin


def nodes() -> dict[str, Node]:
    found: dict[str, Node] = {}

    def walk(node: Node) -> None:
        if node.name and node.name in found:
            return
        if node.name:
            found[node.name] = node
        for below in (*node.fields.values(), *([node.item] if node.item is not None else [])):
            walk(below)

    for resource in vars(resources).values():
        if isinstance(resource, Resource):
            root = builtin(resource.api_version, resource.kind)
            if root is not None:
                walk(root)
    return found


def entries() -> Iterator[tuple[str, str]]:
    return ((kind, field) for kind, fields in DESCRIPTIONS.items() for field in fields if field)


def test_every_entry_is_of_the_schema() -> None:
    known = nodes()
    assert set(DESCRIPTIONS) <= set(known)
    assert [entry for entry in entries() if entry[1] not in known[entry[0]].fields] == []


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_sentences(kind: str) -> None:
    assert all(text.endswith(".") for text in DESCRIPTIONS[kind].values())
