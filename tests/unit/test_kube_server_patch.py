"""Patches: the examples of their RFCs, reference semantics, and what kubectl sends."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.kube.server import schema
from glasshive.kube.server.patch_json import json_patch, merge_patch
from glasshive.kube.server.patch_strategic import strategic_patch
from glasshive.kube.server.status import StatusError

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"])
JSON = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below), max_leaves=8
)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_examples_of_rfc_7386(target: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(target, patch) == expected


@given(target=JSON, patch=JSON)
def test_merge_patch_twice_is_once_and_leaves_its_arguments(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    assert (target, patch) == before


@pytest.mark.parametrize(
    ("target", "operations", "expected"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        (
            {"a/b": 1, "m~n": 2},
            [{"op": "remove", "path": "/a~1b"}, {"op": "replace", "path": "/m~0n", "value": 3}],
            {"m~n": 3},
        ),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": [1]}], [1]),
    ],
)
def test_json_patch(target: Any, operations: list, expected: Any) -> None:
    before = copy.deepcopy(target)
    assert json_patch(target, operations) == expected
    assert target == before


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([{"op": "test", "path": "/a", "value": True}], 422),
        ([{"op": "remove", "path": "/x"}], 422),
        ([{"op": "replace", "path": "/x", "value": 1}], 422),
        ([{"op": "add", "path": "/x/y", "value": 1}], 422),
        ([{"op": "add", "path": "a", "value": 1}], 400),
        ([{"op": "jump", "path": "/a"}], 400),
        ({"op": "add"}, 400),
        (["x"], 400),
        ([{"op": "add", "path": "/b"}], 400),
        ([{"op": "remove", "path": ""}], 422),
        ([{"op": "add", "path": "/l/01", "value": 1}], 422),
        ([{"op": "move", "from": "/l", "path": "/l/0"}], 422),
        ([{"op": "copy", "path": "/z"}], 400),
    ],
)
def test_json_patch_refusals(operations: Any, code: int) -> None:
    with pytest.raises(StatusError) as caught:
        json_patch({"a": 1, "l": [1, 2]}, operations)
    assert caught.value.code == code


DEPLOYMENT = schema.builtin("apps/v1", "Deployment")
assert DEPLOYMENT is not None


def strategic(pod: dict, patch: dict) -> dict:
    """A patch of a pod template's spec."""
    wrapped = strategic_patch(
        DEPLOYMENT, {"spec": {"template": {"spec": pod}}}, {"spec": {"template": {"spec": patch}}}
    )
    return wrapped["spec"]["template"]["spec"]


def test_lists_with_a_merge_key_merge() -> None:
    pod = {"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"}]}
    assert strategic(pod, {"containers": [{"name": "b", "image": "3"}, {"name": "c", "image": "4"}]}) == {
        "containers": [
            {"name": "a", "image": "1", "args": ["x"]},
            {"name": "b", "image": "3"},
            {"name": "c", "image": "4"},
        ]
    }
    assert strategic(pod, {"containers": [{"name": "a", "args": ["y"]}]})["containers"][0]["args"] == ["y"]


def test_directives() -> None:
    pod = {"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"x": "1", "y": "2"}}
    assert strategic(pod, {"containers": [{"name": "a", "$patch": "delete"}]})["containers"] == [{"name": "b"}]
    assert strategic(pod, {"containers": [{"$patch": "replace"}, {"name": "c"}]})["containers"] == [{"name": "c"}]
    assert strategic(pod, {"nodeSelector": {"$patch": "replace", "z": "3"}})["nodeSelector"] == {"z": "3"}
    assert strategic(pod, {"nodeSelector": None, "containers": []}) == {"containers": [{"name": "a"}, {"name": "b"}]}
    strategy = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_patch(DEPLOYMENT, strategy, patch) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_plain_lists_with_directives() -> None:
    finalizers = {"metadata": {"finalizers": ["a", "b", "c"]}}
    patch = {
        "metadata": {
            "$deleteFromPrimitiveList/finalizers": ["b"],
            "finalizers": ["d"],
            "$setElementOrder/finalizers": ["d", "a", "c"],
        }
    }
    assert strategic_patch(DEPLOYMENT, finalizers, patch) == {"metadata": {"finalizers": ["d", "a", "c"]}}


def test_element_order_keeps_what_only_the_server_has() -> None:
    pod = {"containers": [{"name": "a"}, {"name": "sidecar"}, {"name": "b"}]}
    patch = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "2"}]}
    assert [c["name"] for c in strategic(pod, patch)["containers"]] == ["sidecar", "b", "a"]
    patch = {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}]}
    assert [c["name"] for c in strategic(pod, patch)["containers"]] == ["a", "sidecar", "b"]


def test_missing_merge_key_and_unknown_directive() -> None:
    for patch in ({"containers": [{"image": "x"}]}, {"nodeSelector": {"$patch": "explode"}}, {"containers": ["x"]}):
        with pytest.raises(StatusError) as caught:
            strategic({"containers": []}, patch)
        assert caught.value.code == 400


NAMES = st.lists(st.sampled_from("abcd"), unique=True, max_size=4)


@given(before=NAMES, after=NAMES, images=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2)))
def test_patch_made_like_kubectl_reaches_its_goal(before: list, after: list, images: dict) -> None:
    """The patch from one list to another, as a client makes it, yields the other list."""
    old = [{"name": name, "image": "0"} for name in before]
    new = [{"name": name, "image": str(images.get(name, 0))} for name in after]
    changed = [c for c in new if c not in old] + [{"name": n, "$patch": "delete"} for n in before if n not in after]
    patch = {"containers": changed, "$setElementOrder/containers": [{"name": name} for name in after]}
    assert strategic({"containers": old}, patch)["containers"] == new
