"""Server-side apply: ownership, conflicts, pruning, and what co-owners keep."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kube_server import APPLY, CMS, MERGE, Http, run

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def cm(**data: Any) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


def deployment(replicas: int | None = None, **containers: dict) -> dict:
    spec: dict = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": name, "image": "i", **c} for name, c in containers.items()]},
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


async def applied(http: Http, path: str, body: dict, manager: str, **query: Any) -> Any:
    return await http("PATCH", f"{path}/{body['metadata']['name']}", body, APPLY, fieldManager=manager, **query)


def test_apply_creates_merges_and_prunes(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        answer = await applied(http, CMS, cm(a="1", b="2"), "one")
        assert answer.code == 201
        assert answer.body["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}}
        assert (await applied(http, CMS, cm(c="3"), "two")).ok()["data"] == {"a": "1", "b": "2", "c": "3"}
        assert (await applied(http, CMS, cm(a="1"), "one")).ok()["data"] == {"a": "1", "c": "3"}
        before = (await http("GET", CMS + "/c")).ok()["metadata"]["resourceVersion"]
        assert (await applied(http, CMS, cm(a="1"), "one")).ok()["metadata"]["resourceVersion"] == before

    run(tmp_path, test)


def test_conflicts_name_the_owner_and_force_takes(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await applied(http, CMS, cm(a="1"), "one")).ok()
        answer = await applied(http, CMS, cm(a="2"), "two")
        assert answer.refused(409, "Conflict") == 'Apply failed with 1 conflict: conflict with "one" using v1: .data.a'
        assert answer.body["details"]["causes"][0]["reason"] == "FieldManagerConflict"
        assert (await applied(http, CMS, cm(a="2"), "two", force="true")).ok()["data"] == {"a": "2"}
        # The one who lost it does not take it away by letting it go.
        assert (await applied(http, CMS, cm(z="1"), "one")).ok()["data"] == {"a": "2", "z": "1"}

    run(tmp_path, test)


def test_shared_fields_stay_until_the_last_owner_goes(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await applied(http, CMS, cm(a="1", b="1"), "one")).ok()
        (await applied(http, CMS, cm(a="1"), "two")).ok()
        assert (await applied(http, CMS, cm(b="1"), "one")).ok()["data"] == {"a": "1", "b": "1"}
        assert (await applied(http, CMS, cm(), "two")).ok()["data"] == {"b": "1"}

    run(tmp_path, test)


def test_updates_take_ownership(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await applied(http, DEPLOYMENTS, deployment(2, web={}), "one")).ok()
        scale = {"spec": {"replicas": 5}}
        (await http("PATCH", DEPLOYMENTS + "/d/scale", scale, MERGE, fieldManager="hand")).ok()
        answer = await applied(http, DEPLOYMENTS, deployment(2, web={}), "one")
        assert 'conflict with "hand" with subresource "scale" using apps/v1: .spec.replicas' in answer.refused(
            409, "Conflict"
        )
        # Letting the field go leaves it to its new owner.
        assert (await applied(http, DEPLOYMENTS, deployment(None, web={}), "one")).ok()["spec"]["replicas"] == 5

    run(tmp_path, test)


def test_list_items_by_key(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await applied(http, DEPLOYMENTS, deployment(1, web={"ports": [{"containerPort": 80}]}, side={}), "one")).ok()
        more = deployment(None, web={"env": [{"name": "A", "value": "1"}]})
        found = (await applied(http, DEPLOYMENTS, more, "two")).ok()["spec"]["template"]["spec"]["containers"]
        assert [c["name"] for c in found] == ["web", "side"]
        assert found[0]["ports"][0]["containerPort"] == 80
        assert found[0]["env"] == [{"name": "A", "value": "1"}]
        left = (await applied(http, DEPLOYMENTS, deployment(1, web={}), "one")).ok()["spec"]["template"]["spec"][
            "containers"
        ]
        assert [c["name"] for c in left] == ["web"]
        assert "ports" not in left[0]
        assert left[0]["env"] == [{"name": "A", "value": "1"}]

    run(tmp_path, test)


def test_first_apply_of_an_older_object(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await http("POST", CMS, cm(a="1", b="2"))).ok()
        assert 'conflict with "before-first-apply"' in (await applied(http, CMS, cm(a="9"), "one")).refused(
            409, "Conflict"
        )
        assert (await applied(http, CMS, cm(a="1"), "one")).ok()["data"] == {"a": "1", "b": "2"}

    run(tmp_path, test)


def test_bad_applies(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await http("PATCH", CMS + "/c", cm(), APPLY)).refused(400, "BadRequest")
        (await http("PATCH", CMS + "/c", {"metadata": {"name": "c"}}, APPLY, fieldManager="m")).refused(
            400, "BadRequest"
        )
        owned = cm()
        owned["metadata"]["managedFields"] = [{"manager": "x"}]
        (await applied(http, CMS, owned, "m")).refused(400, "BadRequest")
        (await http("PATCH", CMS + "/other", cm(), APPLY, fieldManager="m")).refused(400, "BadRequest")
        (await http("PATCH", CMS + "/c", {}, MERGE, force="true")).refused(400, "BadRequest")

    run(tmp_path, test)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["one", "two"]), st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_forced_applies_equal_model(tmp_path_factory: Any, steps: list) -> None:
    """Each field holds what its last applier said, while anybody who applied it still wants it."""

    async def test(http: Http) -> None:
        wants: dict[str, dict] = {}
        values: dict[str, str] = {}
        owners: dict[str, set] = {}
        for manager, data in steps:
            for key in set(wants.get(manager, {})) - set(data):
                if manager in owners.get(key, set()):
                    owners[key] -= {manager}
                    if not owners[key]:
                        values.pop(key, None)
            for key, value in data.items():
                same = values.get(key) == value
                owners[key] = (owners.get(key, set()) if same else set()) | {manager}
                values[key] = value
            wants[manager] = data
            found = (await applied(http, CMS, cm(**data), manager, force="true")).ok()
            assert found.get("data", {}) == values

    run(tmp_path_factory.mktemp("a"), test)
