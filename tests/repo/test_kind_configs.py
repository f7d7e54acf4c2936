"""The kind files give a cluster on which our agent could be the only network."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

FILES = sorted((Path(__file__).resolve().parents[2] / "kind-configs").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_kind_config(path: Path):
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert (config["kind"], config["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert [node["role"] for node in config["nodes"]].count("control-plane") >= 1
    networking = config["networking"]
    assert networking["disableDefaultCNI"] is True
    assert networking["kubeProxyMode"] == "none"
    for subnets in (networking["podSubnet"], networking["serviceSubnet"]):
        assert {ip_network(one).version for one in subnets.split(",")} == {4, 6}
