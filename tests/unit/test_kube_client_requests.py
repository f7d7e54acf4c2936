"""The client against the real embedded server: every verb, every kind of refusal."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from control_plane import served
from glasshive.api.resources import CONFIG_MAP, DEPLOYMENT, NAMESPACE, NODE
from glasshive.errors import ApiError, ManifestError, NotFoundError, UsageError
from glasshive.kube.client import Client
from glasshive.kube.endpoint import from_kubeconfig
from glasshive.kube.objects import Object


def config_map(name: str, **data: str) -> Object:
    return CONFIG_MAP.object(name, data=data)


def test_every_verb(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            made = await client.create(CONFIG_MAP, config_map("one", a="1"))
            assert made["metadata"]["uid"]
            assert (await client.get(CONFIG_MAP, "one", "default"))["data"] == {"a": "1"}
            made["data"]["b"] = "2"
            replaced = await client.replace(CONFIG_MAP, made)
            assert replaced["data"] == {"a": "1", "b": "2"}
            patched = await client.patch(CONFIG_MAP, "one", {"data": {"a": None}}, "default")
            assert patched["data"] == {"b": "2"}
            operations = [{"op": "replace", "path": "/data/b", "value": "3"}]
            patched = await client.patch(CONFIG_MAP, "one", operations, "default", kind="json")
            assert patched["data"] == {"b": "3"}
            strategic = {"metadata": {"labels": {"x": "y"}}}
            patched = await client.patch(CONFIG_MAP, "one", strategic, "default", kind="strategic")
            assert patched["metadata"]["labels"] == {"x": "y"}
            assert [o["metadata"]["name"] for o in (await client.list(CONFIG_MAP, label_selector="x=y")).items] == [
                "one"
            ]
            await client.delete(CONFIG_MAP, "one", "default")
            with pytest.raises(ApiError) as error:
                await client.get(CONFIG_MAP, "one", "default")
            assert (error.value.code, error.value.reason) == (404, "NotFound")

    asyncio.run(run())


def test_server_side_apply(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            body = config_map("applied", a="1")
            first = await client.apply(CONFIG_MAP, body)
            again = await client.apply(CONFIG_MAP, body)
            assert again["data"] == {"a": "1"}
            assert again["metadata"]["uid"] == first["metadata"]["uid"]
            with pytest.raises(ApiError) as error:
                await client.apply(CONFIG_MAP, config_map("applied", a="2"), manager="somebody", force=False)
            assert (error.value.code, error.value.reason) == (409, "Conflict")
            taken = await client.apply(CONFIG_MAP, config_map("applied", a="2"), manager="somebody")
            assert taken["data"] == {"a": "2"}

    asyncio.run(run())


def test_status_subresource_leaves_the_spec_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            await client.create(NODE, NODE.object("n1"))
            body = {"status": {"phase": "x", "nodeInfo": {"osImage": "hive"}}, "spec": {"unschedulable": True}}
            answer = await client.patch(NODE, "n1", body, subresource="status")
            assert answer["status"]["nodeInfo"]["osImage"] == "hive"
            assert not answer.get("spec", {}).get("unschedulable")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        (config_map("twice"), 409, "AlreadyExists"),
        (config_map("Not_A_Name"), 422, "Invalid"),
        ({**config_map("x"), "metadata": {"name": "x", "namespace": "nowhere"}}, 404, "NotFound"),
    ],
)
def test_refusals_have_code_and_reason(tmp_path: Path, body: Object, code: int, reason: str) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            await client.create(CONFIG_MAP, config_map("twice"))
            with pytest.raises(ApiError) as error:
                await client.create(CONFIG_MAP, body)
            assert (error.value.code, error.value.reason) == (code, reason)
            assert "\n" not in str(error.value)

    asyncio.run(run())


def test_replace_with_an_old_version_is_a_conflict(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            old = await client.create(CONFIG_MAP, config_map("one", a="1"))
            await client.patch(CONFIG_MAP, "one", {"data": {"a": "2"}}, "default")
            with pytest.raises(ApiError) as error:
                await client.replace(CONFIG_MAP, old)
            assert error.value.reason == "Conflict"

    asyncio.run(run())


def test_delete_with_another_uid_is_a_conflict(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            await client.create(CONFIG_MAP, config_map("one"))
            with pytest.raises(ApiError) as error:
                await client.delete(CONFIG_MAP, "one", "default", uid="11111111-2222-3333-4444-555555555555")
            assert error.value.code == 409

    asyncio.run(run())


def test_list_goes_through_all_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasshive.kube.client.PAGE_SIZE", 7)

    async def run() -> None:
        async with served(tmp_path) as client:
            await asyncio.gather(*(client.create(CONFIG_MAP, config_map(f"m{i}")) for i in range(30)))
            listed = await client.list(CONFIG_MAP, "default")
            names = {o["metadata"]["name"] for o in listed.items}
            assert {f"m{i}" for i in range(30)} <= names
            assert len(names) == len(listed.items)
            assert all(o["kind"] == "ConfigMap" and o["apiVersion"] == "v1" for o in listed.items)
            assert int(listed.resource_version) > 0

    asyncio.run(run())


def test_watch_continues_a_list(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            listed = await client.list(CONFIG_MAP)
            await client.create(CONFIG_MAP, config_map("one"))
            await client.delete(CONFIG_MAP, "one", "default")
            seen = []
            async for event in client.watch(CONFIG_MAP, resource_version=listed.resource_version, timeout_seconds=5):
                if event.object["metadata"].get("name") == "one":
                    seen.append(event.type)
                if event.type == "DELETED":
                    break
            assert seen == ["ADDED", "DELETED"]

    asyncio.run(run())


def test_a_server_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    async def run() -> None:
        async with Client(socket=tmp_path / "none.sock") as client:
            with pytest.raises(ApiError) as error:
                await client.get(NAMESPACE, "default")
            assert (error.value.code, error.value.reason) == (503, "ServiceUnavailable")
            assert "none.sock" in str(error.value)
            with pytest.raises(ApiError):
                async for _ in client.watch(NAMESPACE, resource_version="1"):
                    pass

    asyncio.run(run())


def test_an_answer_that_is_no_status_is_still_an_api_error(tmp_path: Path) -> None:
    async def run() -> None:
        async def page(_request: web.BaseRequest) -> web.Response:
            return web.Response(status=502, text="<h1>Bad gateway</h1>")

        runner = web.ServerRunner(web.Server(page))
        await runner.setup()
        await web.UnixSite(runner, str(tmp_path / "s.sock")).start()
        async with Client(socket=tmp_path / "s.sock") as client:
            with pytest.raises(ApiError) as error:
                await client.get(DEPLOYMENT, "x", "default")
        await runner.cleanup()
        assert error.value.code == 502
        assert "Bad gateway" in str(error.value)

    asyncio.run(run())


def test_client_needs_one_address() -> None:
    with pytest.raises(UsageError):
        Client()
    with pytest.raises(UsageError):
        Client(socket="/a", kubeconfig="/b")


def kubeconfig(**cluster: object) -> str:
    return yaml.safe_dump(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
        }
    )


def test_kubeconfig(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(kubeconfig(server="http://127.0.0.1:1234/"))
    endpoint = from_kubeconfig(file)
    assert (endpoint.url, endpoint.token, endpoint.tls) == ("http://127.0.0.1:1234", "secret", None)
    file.write_text(kubeconfig(server="https://127.0.0.1:1234", **{"insecure-skip-tls-verify": True}))
    tls = from_kubeconfig(file).tls
    assert tls is not None
    assert tls.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [", "not YAML"),
        ("{}", "no entry '' in contexts"),
        (kubeconfig(server="ftp://x"), "not an http"),
        (kubeconfig(server="https://x", **{"certificate-authority-data": "%%%"}), "not base64"),
    ],
)
def test_kubeconfig_refuses_with_file_and_field(tmp_path: Path, text: str, part: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ManifestError, match=part) as error:
        from_kubeconfig(file)
    assert str(file) in str(error.value)


def test_kubeconfig_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nope"):
        from_kubeconfig(tmp_path / "nope")


def test_kubeconfig_over_tls_with_the_servers_own_authority(tmp_path: Path) -> None:
    """The way notebooks and kubectl come in: https, the cluster's CA, a token."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    from glasshive.kube.server import Server

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "tls.crt").write_bytes(pem)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "tls.key").write_bytes(secret)

    async def run() -> None:
        server = Server(tmp_path / "store.db", tls=(tmp_path / "tls.crt", tmp_path / "tls.key"), token="secret")
        await server.start()
        try:
            data = base64.b64encode(pem).decode()
            where = f"https://127.0.0.1:{server.port}"
            file = tmp_path / "config"
            file.write_text(kubeconfig(server=where, **{"certificate-authority-data": data}))
            async with Client(kubeconfig=file) as client:
                assert (await client.get(NAMESPACE, "default"))["metadata"]["name"] == "default"
            file.write_text(file.read_text().replace("secret", "wrong"))
            async with Client(kubeconfig=file) as client:
                with pytest.raises(ApiError) as error:
                    await client.get(NAMESPACE, "default")
                assert (error.value.code, error.value.reason) == (401, "Unauthorized")
        finally:
            await server.stop()

    asyncio.run(run())
