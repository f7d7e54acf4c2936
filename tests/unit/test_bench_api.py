"""The API benchmark's parts: real server, few writes; what a watcher reads out of a stream."""

import asyncio
import base64
import json
import subprocess

import pytest

from glasshive.bench import api, api_peers, http_load
from glasshive.errors import ProcessError


def test_latencies_are_read_from_both_kinds_of_watch():
    ours = (
        b'{"type":"ADDED","object":{"data":{"note":"@1000000@"}}}\n{"type":"ADDED","object":{"data":{"note":"warm"}}}\n'
    )
    assert http_load.latencies(ours, 3_500_000) == [2.5]
    value = base64.b64encode(b'{"data":{"note":"@2000000@"}}')
    theirs = b'{"result":{"events":[{"kv":{"key":"L3I=","value":"%s"}}]}}\n' % value
    assert http_load.latencies(theirs, 3_000_000) == [1.0]
    assert http_load.latencies(b"HTTP/1.1 200 OK\r\n\r\n", 1) == []


def test_writes_are_counted_and_kept():
    with api_peers.api_server() as store:

        async def run():
            done = await http_load.write_for(store.address, 2, 0.2, lambda n: store.write(n, "x"))
            await http_load.write_all(store.address, [store.write(10_000 + n, "x") for n in range(30)], clients=4)
            writer = await http_load.Writer.open(store.address)
            listed = await writer.ask(b"GET /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(ProcessError, match=r"HTTP/1.1 409 .*already exists"):
                await writer.ask(store.write(0, "x"))
            writer.close()
            return done, [item["metadata"]["name"] for item in json.loads(listed)["items"]]

        done, names = asyncio.run(run())
        assert done > 10
        assert len([name for name in names if name.startswith("bench-")]) == done + 30
        assert api_peers.cpu_seconds(store.process.pid) > 0
    assert store.process.poll() is not None


def test_every_watcher_sees_every_write(monkeypatch):
    monkeypatch.setattr(api, "WATCHERS", 5)
    found = api._latencies(api_peers.api_server, 10)
    assert len(found) == 50
    assert 0 < min(found) <= max(found) < 5000


def test_sqlite_alone_counts_rows():
    rows, cpu = api_peers.sqlite_alone(8, 0.05)
    assert rows % 8 == 0
    assert rows > 0
    assert cpu > 0


def test_a_server_that_does_not_start_is_told(monkeypatch):
    monkeypatch.setenv("GLASSHIVE_ETCD", "/bin/false")
    with pytest.raises(ProcessError, match=r"ended with 1"), api_peers.etcd():
        pass
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.delenv("GLASSHIVE_ETCD")
    monkeypatch.setattr(api_peers.shutil, "which", lambda _: None)
    assert list(api.contenders()) == ["glasshive"]
