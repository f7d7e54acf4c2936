"""The life of objects over HTTP: creation, change, deletion, and every refusal as a Status."""

import asyncio
from pathlib import Path

import pytest

from kube_server import CMS, MERGE, PODS, STRATEGIC, TABLE, Http, config_map, pod, run

NAMESPACES = "/api/v1/namespaces"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
BIND = {"target": {"kind": "Node", "name": "n1"}}


def test_metadata_is_the_servers(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        made = (await http("POST", PODS, pod("a"))).ok()
        meta = made["metadata"]
        assert (meta["namespace"], meta["generation"]) == ("default", 1)
        assert meta["uid"]
        assert meta["creationTimestamp"].endswith("Z")
        changed = dict(made, metadata=dict(meta, uid=None, creationTimestamp=None, generation=7, labels={"x": "y"}))
        after = (await http("PUT", PODS + "/a", changed)).ok()["metadata"]
        assert {k: after[k] for k in ("uid", "creationTimestamp", "generation")} == {
            k: meta[k] for k in ("uid", "creationTimestamp", "generation")
        }
        names = [
            (await http("POST", CMS, {"metadata": {"generateName": "gen-"}})).ok()["metadata"]["name"]
            for _ in range(20)
        ]
        assert len(set(names)) == 20
        assert all(name.startswith("gen-") and len(name) == 9 for name in names)

    run(tmp_path, test)


def test_optimistic_concurrency(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        first = (await http("POST", CMS, config_map("a", x="1"))).ok()
        second = (await http("PUT", CMS + "/a", dict(first, data={"x": "2"}))).ok()
        (await http("PUT", CMS + "/a", dict(first, data={"x": "3"}))).refused(409, "Conflict")
        assert (await http("PUT", CMS + "/a", second)).ok() == second, "a write that changes nothing writes nothing"
        stale = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "data": {"x": "9"}}
        (await http("PATCH", CMS + "/a", stale, MERGE)).refused(409, "Conflict")
        wrong = {"preconditions": {"uid": "other"}}
        (await http("DELETE", CMS + "/a", wrong)).refused(409, "Conflict")

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reason", "words"),
    [
        ("GET", CMS + "/no", None, 404, "NotFound", 'configmaps "no" not found'),
        ("POST", CMS, {"metadata": {"name": "UP"}}, 422, "Invalid", "metadata.name: Invalid value"),
        ("POST", CMS, {"metadata": {}}, 422, "Invalid", "name or generateName is required"),
        ("POST", CMS, {"metadata": {"name": "a", "labels": {"a b": "c"}}}, 422, "Invalid", "metadata.labels"),
        ("POST", CMS, {"metadata": {"name": "a", "namespace": "b"}}, 400, "BadRequest", "does not match the namespace"),
        (
            "POST",
            CMS,
            {"kind": "Pod", "metadata": {"name": "a"}},
            400,
            "BadRequest",
            "does not match the expected kind",
        ),
        ("POST", CMS, [], 400, "BadRequest", "must be a JSON object"),
        ("POST", CMS, b"{", 400, "BadRequest", "not valid JSON"),
        ("POST", CMS, {"metadata": {"name": "a"}, "data": {"x": 1}}, 400, "BadRequest", "data.x: expected string"),
        (
            "POST",
            CMS,
            {"metadata": {"name": "a"}, "data": {"x": "y" * (1 << 20)}},
            413,
            "RequestEntityTooLarge",
            "too large",
        ),
        ("POST", NAMESPACES + "/none/configmaps", config_map("a"), 404, "NotFound", 'namespaces "none" not found'),
        ("DELETE", NAMESPACES + "/default", None, 403, "Forbidden", "may not be deleted"),
        ("PUT", CMS, {}, 405, "MethodNotAllowed", "does not allow this method"),
        ("POST", CMS + "/a", {}, 405, "MethodNotAllowed", "does not allow this method"),
        ("GET", "/api/v1/nothing", None, 404, "NotFound", "could not find the requested resource"),
        ("GET", "/apis/none.io/v1/things", None, 404, "NotFound", "could not find"),
        ("GET", CMS + "?labelSelector=a%20b", None, 400, "BadRequest", "unable to parse requirement"),
        ("GET", CMS + "?fieldSelector=data.x%3D1", None, 400, "BadRequest", "field label not supported"),
        ("GET", CMS + "?continue=abc", None, 400, "BadRequest", "continue key is not valid"),
        ("GET", CMS + "?limit=x", None, 400, "BadRequest", "not a number"),
        ("GET", CMS + "?resourceVersion=99999", None, 504, "Timeout", "Too large resource version"),
        ("DELETE", CMS + "/a?propagationPolicy=Maybe", None, 400, "BadRequest", "propagationPolicy"),
    ],
)
def test_refusals(tmp_path: Path, *, method: str, path: str, body: object, code: int, reason: str, words: str) -> None:
    async def test(http: Http) -> None:
        from urllib.parse import parse_qsl

        where, _, query = path.partition("?")
        answer = await http(method, where, body, **dict(parse_qsl(query)))
        assert words in answer.refused(code, reason)

    run(tmp_path, test)


def test_unknown_fields(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        wrong = pod("a")
        wrong["spec"]["containers"][0]["comand"] = ["x"]
        answer = await http("POST", PODS, wrong, fieldValidation="Strict")
        assert 'strict decoding error: unknown field "spec.containers[0].comand"' in answer.refused(400, "BadRequest")
        answer = await http("POST", PODS, wrong)
        assert answer.code == 201
        assert 'unknown field \\"spec.containers[0].comand\\"' in answer.headers["Warning"]
        assert "comand" not in answer.body["spec"]["containers"][0]
        answer = await http("PATCH", PODS + "/a", {"spec": {"nope": 1}}, MERGE, fieldValidation="Ignore")
        assert answer.code == 200
        assert "Warning" not in answer.headers

    run(tmp_path, test)


def test_dry_run_stores_nothing(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.50"}}
        path = NAMESPACES + "/default/services"
        assert (await http("POST", path, service, dryRun="All")).ok()["spec"]["clusterIP"] == "10.96.0.50"
        (await http("GET", path + "/s")).refused(404, "NotFound")
        assert (await http("POST", path, service)).code == 201, "the address is still free"
        (await http("PATCH", path + "/s", {"metadata": {"labels": {"a": "b"}}}, MERGE, dryRun="All")).ok()
        (await http("DELETE", path + "/s", dryRun="All")).ok()
        assert "labels" not in (await http("GET", path + "/s")).ok()["metadata"]

    run(tmp_path, test)


def test_finalizers_hold_an_object_back(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        held = config_map("a")
        held["metadata"]["finalizers"] = ["x.io/hold"]
        (await http("POST", CMS, held)).ok()
        assert (await http("DELETE", CMS + "/a")).ok()["metadata"]["deletionTimestamp"]
        added = {"metadata": {"finalizers": ["x.io/hold", "x.io/more"]}}
        assert "no new finalizers" in (await http("PATCH", CMS + "/a", added, MERGE)).refused(422, "Invalid")
        (await http("PATCH", CMS + "/a", {"metadata": {"finalizers": None}}, MERGE)).ok()
        (await http("GET", CMS + "/a")).refused(404, "NotFound")

    run(tmp_path, test)


def test_propagation_is_written_down_as_finalizers(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
            (await http("POST", CMS, config_map(policy.lower()))).ok()
            gone = (await http("DELETE", f"{CMS}/{policy.lower()}", {"propagationPolicy": policy})).ok()
            assert gone["metadata"]["finalizers"] == [finalizer]
        (await http("POST", CMS, config_map("b"))).ok()
        assert (await http("DELETE", CMS + "/b", {"propagationPolicy": "Background"})).ok()["status"] == "Success"

    run(tmp_path, test)


def test_pods_go_gracefully(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await http("POST", PODS, pod("waiting"))).ok()
        (await http("DELETE", PODS + "/waiting")).ok()
        (await http("GET", PODS + "/waiting")).refused(404, "NotFound")
        (await http("POST", PODS, pod("bound", terminationGracePeriodSeconds=7))).ok()
        (await http("POST", PODS + "/bound/binding", BIND)).ok()
        (await http("POST", PODS + "/bound/binding", BIND)).refused(409, "Conflict")
        marked = (await http("DELETE", PODS + "/bound")).ok()["metadata"]
        assert marked["deletionGracePeriodSeconds"] == 7
        again = (await http("DELETE", PODS + "/bound")).ok()["metadata"]
        assert again["resourceVersion"] == marked["resourceVersion"]
        assert (await http("DELETE", PODS + "/bound", gracePeriodSeconds=3)).ok()["metadata"][
            "deletionGracePeriodSeconds"
        ] == 3
        (await http("DELETE", PODS + "/bound", {"gracePeriodSeconds": 0})).ok()
        (await http("GET", PODS + "/bound")).refused(404, "NotFound")

    run(tmp_path, test)


def test_namespaces_go_when_finalized(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        made = (await http("POST", NAMESPACES, {"metadata": {"name": "n"}})).ok()
        assert made["status"]["phase"] == "Active"
        assert made["metadata"]["labels"]["kubernetes.io/metadata.name"] == "n"
        going = (await http("DELETE", NAMESPACES + "/n")).ok()
        assert going["status"]["phase"] == "Terminating"
        answer = await http("POST", NAMESPACES + "/n/configmaps", config_map("a"))
        assert "it is being terminated" in answer.refused(403, "Forbidden")
        going["spec"]["finalizers"] = []
        (await http("PUT", NAMESPACES + "/n/finalize", going)).ok()
        (await http("GET", NAMESPACES + "/n")).refused(404, "NotFound")

    run(tmp_path, test)


def test_status_and_spec_are_apart(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        body = {
            "metadata": {"name": "d"},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, **pod("x")},
            },
            "status": {"replicas": 9},
        }
        body["spec"]["template"]["metadata"] = {"labels": {"a": "b"}}
        made = (await http("POST", DEPLOYMENTS, body)).ok()
        assert made["status"] == {}
        assert (made["spec"]["replicas"], made["spec"]["strategy"]["type"]) == (1, "RollingUpdate")
        (
            await http("PATCH", DEPLOYMENTS + "/d/status", {"status": {"replicas": 1}, "spec": {"replicas": 5}}, MERGE)
        ).ok()
        now = (await http("PATCH", DEPLOYMENTS + "/d", {"status": {"replicas": 7}}, MERGE)).ok()
        assert (now["status"], now["spec"]["replicas"], now["metadata"]["generation"]) == ({"replicas": 1}, 1, 1)
        scaled = (await http("PATCH", DEPLOYMENTS + "/d/scale", {"spec": {"replicas": 3}}, MERGE)).ok()
        assert scaled["kind"] == "Scale"
        assert scaled["status"] == {"replicas": 1, "selector": "a=b"}
        now = (await http("GET", DEPLOYMENTS + "/d")).ok()
        assert (now["spec"]["replicas"], now["metadata"]["generation"]) == (3, 2)
        wrong = {"spec": {"selector": {"matchLabels": {"a": "c"}}}}
        assert "spec.selector" in (await http("PATCH", DEPLOYMENTS + "/d", wrong, MERGE)).refused(422, "Invalid")

    run(tmp_path, test)


def test_pod_spec_is_immutable_but_for_images(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await http("POST", PODS, pod("p"))).ok()
        (await http("PATCH", PODS + "/p", {"spec": {"containers": [{"name": "main", "image": "new"}]}}, STRATEGIC)).ok()
        answer = await http("PATCH", PODS + "/p", {"spec": {"hostNetwork": True}}, MERGE)
        assert "pod updates may not change fields" in answer.refused(422, "Invalid")

    run(tmp_path, test)


def test_service_addresses(tmp_path: Path) -> None:
    path = NAMESPACES + "/default/services"

    def service(name: str, **spec: object) -> dict:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    async def test(http: Http) -> None:
        first = (await http("GET", path + "/kubernetes")).ok()["spec"]
        assert first["clusterIPs"] == ["10.96.0.1"]
        dual = (await http("POST", path, service("dual", ipFamilyPolicy="RequireDualStack"))).ok()["spec"]
        assert dual["ipFamilies"] == ["IPv4", "IPv6"]
        assert [ip.partition(":")[0] for ip in dual["clusterIPs"]] == [dual["clusterIP"], "fd00"]
        taken = service("other", clusterIP=dual["clusterIP"])
        assert "already allocated (by service default/dual)" in (await http("POST", path, taken)).refused(
            422, "Invalid"
        )
        assert "valid range" in (await http("POST", path, service("x", clusterIP="10.1.1.1"))).refused(422, "Invalid")
        six = (await http("POST", path, service("six", ipFamilies=["IPv6"]))).ok()["spec"]
        assert six["clusterIP"].startswith("fd00:10:96::")
        headless = (await http("POST", path, service("headless", clusterIP="None"))).ok()["spec"]
        assert headless["clusterIPs"] == ["None"]
        moved = {"spec": {"clusterIP": "10.96.3.3"}}
        assert "may not change once set" in (await http("PATCH", path + "/dual", moved, MERGE)).refused(422, "Invalid")
        (await http("DELETE", path + "/dual")).ok()
        assert (await http("POST", path, taken)).code == 201, "a freed address can be taken"
        external = (
            await http(
                "POST", path, {"metadata": {"name": "e"}, "spec": {"type": "ExternalName", "externalName": "a.b"}}
            )
        ).ok()
        assert "clusterIP" not in external["spec"]

    run(tmp_path, test)


def test_exhausted_service_range(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        path = NAMESPACES + "/default/services"
        codes = [
            (await http("POST", path, {"metadata": {"generateName": "s"}, "spec": {"ports": [{"port": 1}]}})).code
            for _ in range(14)
        ]
        assert codes[:13] == [201] * 13
        answer = await http("POST", path, {"metadata": {"name": "last"}, "spec": {"ports": [{"port": 1}]}})
        assert "the range 10.9.0.0/28 is full" in answer.refused(422, "Invalid")

    run(tmp_path, test, service_cidrs=("10.9.0.0/28",))


def test_eviction_respects_budgets(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        labelled = pod("p")
        labelled["metadata"]["labels"] = {"app": "a"}
        (await http("POST", PODS, labelled)).ok()
        (await http("POST", PODS + "/p/binding", BIND)).ok()
        running = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        (await http("PATCH", PODS + "/p/status", running, MERGE)).ok()
        budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}}
        (await http("POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget)).ok()
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
        (await http("POST", PODS + "/p/eviction", eviction)).refused(429, "TooManyRequests")
        (await http("DELETE", "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b")).ok()
        (await http("POST", PODS + "/p/eviction", eviction)).ok()
        assert (await http("GET", PODS + "/p")).ok()["metadata"]["deletionTimestamp"]

    run(tmp_path, test)


def test_the_apis_own_service_cannot_be_lost(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        path = "/api/v1/namespaces/default/services/kubernetes"
        before = (await http("GET", path)).ok()
        (await http("DELETE", path)).ok()

        async def is_new() -> bool:
            answer = await http("GET", path)
            return answer.code == 200 and answer.ok()["metadata"]["uid"] != before["metadata"]["uid"]

        async with asyncio.timeout(10):
            while not await is_new():  # noqa: ASYNC110 - asked over HTTP, as anybody would
                await asyncio.sleep(0.01)
        assert (await http("GET", path)).ok()["spec"]["clusterIP"] == before["spec"]["clusterIP"]

    run(tmp_path, test)


def test_tables(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        running = pod("p")
        (await http("POST", PODS, running)).ok()
        status = {
            "status": {
                "phase": "Running",
                "podIP": "10.1.2.3",
                "containerStatuses": [
                    {
                        "name": "main",
                        "ready": True,
                        "restartCount": 2,
                        "image": "e",
                        "imageID": "",
                        "state": {"running": {}},
                    }
                ],
            }
        }
        (await http("PATCH", PODS + "/p/status", status, MERGE)).ok()
        table = (await http("GET", PODS, None, TABLE)).ok()
        names = [c["name"] for c in table["columnDefinitions"] if not c["priority"]]
        assert names == ["Name", "Ready", "Status", "Restarts", "Age"]
        assert table["rows"][0]["cells"][:4] == ["p", "1/1", "Running", "2"]
        assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"

    run(tmp_path, test)


def test_two_event_groups_show_the_same_events(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        event = {
            "metadata": {"name": "e"},
            "regarding": {"kind": "Pod", "name": "p"},
            "note": "hi",
            "reason": "R",
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "c",
            "type": "Normal",
        }
        (await http("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event)).ok()
        core = (await http("GET", NAMESPACES + "/default/events", fieldSelector="involvedObject.name=p")).ok()["items"]
        assert [(e["apiVersion"], e["message"], e["involvedObject"]["name"]) for e in core] == [("v1", "hi", "p")]
        (await http("PATCH", NAMESPACES + "/default/events/e", {"count": 4}, STRATEGIC)).ok()
        new = (await http("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e")).ok()
        assert (new["apiVersion"], new["note"], new["deprecatedCount"]) == ("events.k8s.io/v1", "hi", 4)

    run(tmp_path, test)


def test_token_guards_tcp(tmp_path: Path) -> None:
    import aiohttp

    async def test(http: Http) -> None:
        async with aiohttp.ClientSession() as session:
            base = f"http://127.0.0.1:{http.server.port}"
            for token, code in (("", 401), ("Bearer wrong", 401), ("Bearer t0ken", 200)):
                async with session.get(base + "/api/v1/namespaces", headers={"Authorization": token}) as answer:
                    assert answer.status == code
                    assert (await answer.json())["kind"] == ("Status" if code == 401 else "NamespaceList")
            async with session.get(base + "/readyz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok")
        assert (tmp_path / "api.sock").stat().st_mode & 0o777 == 0o600

    run(tmp_path, test, port=0)


def test_logs_come_from_the_node(tmp_path: Path) -> None:
    from aiohttp import web

    async def container_logs(request: web.BaseRequest) -> web.StreamResponse:
        if "gone" in request.path:
            return web.Response(status=404, text="no such container")
        return web.Response(text=f"{request.path}?{request.query_string}\n")

    async def test(http: Http) -> None:
        runner = web.ServerRunner(web.Server(container_logs))
        await runner.setup()
        await web.UnixSite(runner, str(tmp_path / "node.sock")).start()
        node = {"metadata": {"name": "n1", "annotations": {"glasshive.io/node-socket": str(tmp_path / "node.sock")}}}
        (await http("POST", "/api/v1/nodes", node)).ok()
        (await http("POST", PODS, pod("p"))).ok()
        assert "does not have a host" in (await http("GET", PODS + "/p/log")).refused(400, "BadRequest")
        (await http("POST", PODS + "/p/binding", BIND)).ok()
        answer = await http("GET", PODS + "/p/log", tailLines=3, pretty="x")
        assert (answer.code, answer.body) == (200, "/containerLogs/default/p/main?tailLines=3\n")
        assert "not valid for pod" in (await http("GET", PODS + "/p/log", container="x")).refused(400, "BadRequest")
        (await http("POST", PODS, pod("gone"))).ok()
        (await http("POST", PODS + "/gone/binding", BIND)).ok()
        assert (await http("GET", PODS + "/gone/log")).refused(404, "NotFound") == "no such container"
        (await http("POST", PODS + "/p/exec", command="ls")).refused(400, "BadRequest")
        told = (await http("POST", PODS + "/p/exec", command="ls", stdout=1)).refused(405, "MethodNotAllowed")
        assert "WebSocket" in told
        await runner.cleanup()
        assert "does not answer" in (await http("GET", PODS + "/p/log")).refused(503, "ServiceUnavailable")

    run(tmp_path, test)


def test_long_answers_are_compressed_when_asked(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        for n in range(4):
            (await http("POST", CMS, config_map(f"big{n}", x="y" * 50_000))).ok()
        async with http.session.get("http://x" + CMS, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert len((await answer.json())["items"]) == 4
        async with http.session.get("http://x" + CMS, headers={"Accept-Encoding": "identity"}) as answer:
            assert "Content-Encoding" not in answer.headers

    run(tmp_path, test)
