"""Custom resources: served at once, pruned, defaulted, validated, versioned, cleaned up with their definition."""

import asyncio
from pathlib import Path

import pytest

from kube_server import APPLY, MERGE, STRATEGIC, TABLE, Http, run, serving

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HIVES = "/apis/bees.example.com/v1/namespaces/default/hives"

SPEC_SCHEMA = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "colour": {"type": "string", "enum": ["gold", "black"], "default": "gold"},
        "title": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "port": {"x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "marks": {"type": "object", "additionalProperties": {"type": "string"}},
        "combs": {
            "type": "array",
            "maxItems": 3,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            "items": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string"}, "full": {"type": "boolean", "default": False}},
            },
        },
        "choice": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
    },
}


def definition(**version: object) -> dict:
    return {
        "metadata": {"name": "hives.bees.example.com"},
        "spec": {
            "group": "bees.example.com",
            "scope": "Namespaced",
            "names": {"plural": "hives", "kind": "Hive", "shortNames": ["hv"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": SPEC_SCHEMA,
                                "status": {
                                    "type": "object",
                                    "properties": {"bees": {"type": "integer"}, "selector": {"type": "string"}},
                                },
                            },
                        }
                    },
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.size",
                            "statusReplicasPath": ".status.bees",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Full", "type": "string", "jsonPath": ".spec.combs[?(@.id=='x')].full"},
                    ],
                    "selectableFields": [{"jsonPath": ".spec.colour"}],
                    **version,
                }
            ],
        },
    }


def hive(name: str = "h", **spec: object) -> dict:
    return {
        "apiVersion": "bees.example.com/v1",
        "kind": "Hive",
        "metadata": {"name": name},
        "spec": {"size": 3, **spec},
    }


def test_definition_is_established_and_discovered(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        made = (await http("POST", CRDS, definition())).ok()
        assert {c["type"]: c["status"] for c in made["status"]["conditions"]} == {
            "NamesAccepted": "True",
            "Established": "True",
        }
        assert made["status"]["storedVersions"] == ["v1"]
        found = (await http("GET", "/apis/bees.example.com/v1")).ok()["resources"]
        assert [r["name"] for r in found] == ["hives", "hives/status", "hives/scale"]
        assert found[0]["shortNames"] == ["hv"]
        told = (await http("GET", "/openapi/v3/apis/bees.example.com/v1")).ok()["components"]["schemas"]
        assert told["com.example.bees.v1.Hive"]["properties"]["spec"] == SPEC_SCHEMA

    run(tmp_path, test)


def test_objects_are_pruned_defaulted_and_shown(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await http("POST", CRDS, definition())).ok()
        body = hive(extra=1, free={"any": [1]}, marks={"x": "y"}, combs=[{"id": "x"}])
        answer = await http("POST", HIVES, body)
        assert 'unknown field \\"spec.extra\\"' in answer.headers["Warning"]
        assert answer.ok()["spec"] == {
            "size": 3,
            "free": {"any": [1]},
            "marks": {"x": "y"},
            "combs": [{"id": "x", "full": False}],
            "colour": "gold",
        }
        assert 'unknown field "spec.extra"' in (await http("POST", HIVES, body, fieldValidation="Strict")).refused(
            400, "BadRequest"
        )
        rows = (await http("GET", HIVES, None, TABLE)).ok()
        assert [c["name"] for c in rows["columnDefinitions"]] == ["Name", "Size", "Full"]
        assert rows["rows"][0]["cells"] == ["h", 3, "false"]
        assert len((await http("GET", HIVES, fieldSelector="spec.colour=gold")).ok()["items"]) == 1
        (await http("PATCH", HIVES + "/h", {"spec": {"size": 4}}, STRATEGIC)).refused(415, "UnsupportedMediaType")
        changed = (await http("PATCH", HIVES + "/h", {"spec": {"size": 4}, "status": {"bees": 9}}, MERGE)).ok()
        assert (changed["metadata"]["generation"], "status" in changed) == (2, False)
        (await http("PATCH", HIVES + "/h/status", {"status": {"bees": 2, "selector": "a=b"}}, MERGE)).ok()
        scale = (await http("GET", HIVES + "/h/scale")).ok()
        assert (scale["spec"], scale["status"]) == ({"replicas": 4}, {"replicas": 2, "selector": "a=b"})
        (await http("PATCH", HIVES + "/h/scale", {"spec": {"replicas": 6}}, MERGE)).ok()
        assert (await http("GET", HIVES + "/h")).ok()["spec"]["size"] == 6
        no_version = dict(hive(size=5))
        assert "must be specified for an update" in (await http("PUT", HIVES + "/h", no_version)).refused(
            422, "Invalid"
        )

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"size": "x"}, "spec.size in body must be of type integer"),
        ({"size": 0}, "should be greater than or equal to 1"),
        ({"size": 10}, "should be less than or equal to 9"),
        ({"size": None}, "must be of type integer"),
        ({"colour": "red"}, 'supported values: "black", "gold"'),
        ({"title": "UP"}, "should match '^[a-z]+$'"),
        ({"title": "toolong"}, "at most 5 chars"),
        ({"port": []}, "must be of type integer or string"),
        ({"marks": {"a": 1}}, "spec.marks.a in body must be of type string"),
        ({"combs": [{}]}, "spec.combs[0].id: Required value"),
        ({"combs": [{"id": "a"}, {"id": "a"}]}, "spec.combs[1]: Duplicate value"),
        ({"combs": [{"id": c} for c in "abcd"]}, "Too many"),
        ({"choice": {"a": 1, "b": 2}}, "one and only one schema"),
        ({"combs": {}}, "must be of type array"),
    ],
)
def test_schema_refusals(tmp_path: Path, spec: dict, words: str) -> None:
    async def test(http: Http) -> None:
        (await http("POST", CRDS, definition())).ok()
        assert words in (await http("POST", HIVES, hive(**spec))).refused(422, "Invalid")

    run(tmp_path, test)


def test_server_side_apply_merges_lists_by_key(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await http("POST", CRDS, definition())).ok()
        for manager, comb in (("one", "a"), ("two", "b")):
            body = hive(combs=[{"id": comb}])
            (await http("PATCH", HIVES + "/h", body, APPLY, fieldManager=manager)).ok()
        found = (await http("GET", HIVES + "/h")).ok()["spec"]["combs"]
        assert [c["id"] for c in found] == ["a", "b"]

    run(tmp_path, test)


def test_versions_share_one_object(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        body = definition()
        old = dict(body["spec"]["versions"][0], name="v1alpha1", storage=False)
        body["spec"]["versions"].append(old)
        (await http("POST", CRDS, body)).ok()
        (await http("POST", HIVES, hive())).ok()
        older = HIVES.replace("/v1/", "/v1alpha1/")
        assert (await http("GET", older + "/h")).ok()["apiVersion"] == "bees.example.com/v1alpha1"
        (await http("PATCH", older + "/h", {"spec": {"size": 8}}, MERGE)).ok()
        shown = (await http("GET", HIVES + "/h")).ok()
        assert (shown["apiVersion"], shown["spec"]["size"]) == ("bees.example.com/v1", 8)

    run(tmp_path, test)


def test_definition_goes_with_its_objects_and_survives_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as http:
            (await http("POST", CRDS, definition())).ok()
            held = hive()
            held["metadata"]["finalizers"] = ["x.io/hold"]
            (await http("POST", HIVES, held)).ok()
            (await http("POST", HIVES, hive("free"))).ok()
        async with serving(tmp_path) as http:
            assert len((await http("GET", HIVES)).ok()["items"]) == 2
            seen = (await http("GET", HIVES)).ok()["metadata"]["resourceVersion"]
            (await http("DELETE", CRDS + "/hives.bees.example.com")).ok()
            (await http("POST", HIVES, hive("late"))).refused(405, "MethodNotAllowed")
            async with http.watch(HIVES, resourceVersion=seen) as following:
                while ((event := await following())["type"], event["object"]["metadata"]["name"]) != (
                    "DELETED",
                    "free",
                ):
                    assert event
        async with serving(tmp_path) as http:
            async with http.watch(CRDS) as following:
                assert (await following())["type"] == "ADDED"
                (await http("PATCH", HIVES + "/h", {"metadata": {"finalizers": None}}, MERGE)).ok()
                assert (await following())["type"] == "DELETED"
            (await http("GET", HIVES)).refused(404, "NotFound")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"group": "other.com"}, "must be spec.names.plural"),
        ({"scope": "Galaxy"}, 'supported values: "Cluster", "Namespaced"'),
        ({"versions": []}, "spec.versions"),
        ({"names": {"plural": "hives"}}, "spec.names.kind: Required value"),
        ({"versions": [{"name": "v1", "served": True, "storage": True}]}, "schemas are required"),
        (
            {
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"x": {}}}},
                    }
                ]
            },
            "properties[x].type: Required value",
        ),
    ],
)
def test_bad_definitions(tmp_path: Path, change: dict, words: str) -> None:
    async def test(http: Http) -> None:
        body = definition()
        body["spec"] |= change
        assert words in (await http("POST", CRDS, body)).refused(422, "Invalid")

    run(tmp_path, test)
