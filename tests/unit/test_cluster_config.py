"""Cluster configuration: usual values, every refusal with field and allowed values."""

import json

import pytest

from glasshive.cluster.embedded.addresses import dns_addresses, kubernetes_service_addresses, node_address, world_names
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.errors import ManifestError, UsageError


def test_usual_values_and_round_trip():
    config = ClusterConfig()
    assert config.pod_cidrs == ("10.244.0.0/16", "fd00:10:244::/48")
    assert config.node_prefix_lengths == {"ipv4": 24, "ipv6": 64}
    assert ClusterConfig.from_dict(config.to_dict()) == config
    assert kubernetes_service_addresses(config) == ["10.96.0.1", "fd00:10:96::1"]
    assert dns_addresses(config) == ["10.96.0.10", "fd00:10:96::a"]


def test_names_of_the_world():
    assert world_names(ClusterConfig(ip_families=("ipv4",)))["example.com"] == ["203.0.113.10"]
    config = ClusterConfig(world_names={"a.test": ["192.0.2.1", "2001:db8::1"], "b.test": "a.test"})
    assert world_names(config) == {"a.test": ("192.0.2.1", "2001:db8::1"), "b.test": ("a.test",)}
    assert ClusterConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_one_family_only():
    config = ClusterConfig(ip_families=("ipv6",))
    assert config.pod_cidrs == ("fd00:10:244::/48",)
    assert config.node_prefix_lengths == {"ipv6": 64}


def test_small_pool_is_cut_into_as_many_parts_as_nodes():
    config = ClusterConfig(nodes=3, ip_families=("ipv4",), pod_cidrs=("10.9.0.0/26",))
    assert config.node_prefix_lengths == {"ipv4": 28}


def test_node_addresses_go_on_into_the_next_octet():
    assert node_address(1, "ipv4") == "172.30.0.11"
    assert node_address(250, "ipv4") == "172.30.1.4"
    assert node_address(1, "ipv6") == "fd30::b"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"name": "Bad_Name"}, "name: 'Bad_Name' is not allowed; allowed: 1 to 32 of"),
        ({"name": "a" * 33}, "allowed: 1 to 32"),
        ({"nodes": 0}, "nodes: 0 is not allowed; allowed: a whole number from 1 to 1000"),
        ({"nodes": True}, "nodes: True"),
        ({"routing": "bgp"}, "routing: 'bgp' is not allowed; allowed: native, tunnel"),
        ({"ip_families": ("ipv5",)}, "ip_families: ['ipv5'] is not allowed; allowed: ipv4, ipv6, or both"),
        ({"ip_families": ()}, "ip_families: []"),
        ({"pod_cidrs": ("10.244.0.1/16",)}, "pod_cidrs: '10.244.0.1/16' is not allowed"),
        ({"pod_cidrs": ("10.0.0.0/8", "10.1.0.0/16")}, "one network each for ipv4, ipv6"),
        ({"pod_cidrs": 5}, "pod_cidrs: 5 is not allowed; allowed: a list such as"),
        ({"node_prefix_lengths": {"ipv4": 12}}, "node_prefix_lengths.ipv4: 12 is not allowed"),
        ({"node_prefix_lengths": {"ipv4": 16}}, "too few for 3 nodes"),
        ({"node_prefix_lengths": {"ipx": 16}}, "node_prefix_lengths: {'ipx': 16}"),
        ({"mtu": 100}, "mtu: 100 is not allowed; allowed: a whole number from 1280 to 9000"),
        ({"api_port": -1}, "api_port: -1"),
        ({"service_cidrs": ("10.96.0.0/29", "fd00::/112")}, "10.96.0.0/29 is too small; allowed: /28 or wider"),
        ({"service_cidrs": ("10.96.0.0/16", "fd00::/125")}, "fd00::/125 is too small; allowed: /124 or wider"),
        ({"world_names": ["a"]}, "world_names: ['a'] is not allowed; allowed: a map such as"),
        ({"world_names": {"a b": ["192.0.2.1"]}}, "world_names.a b: ['192.0.2.1'] is not allowed"),
        ({"world_names": {"a.test": []}}, "world_names.a.test: [] is not allowed; allowed: addresses, or one"),
        ({"world_names": {"a.test": ["b.test", "192.0.2.1"]}}, "world_names.a.test"),
        ({"world_names": {"a.test": ["b.test", "c.test"]}}, "world_names.a.test"),
        ({"world_names": {"a.test": 5}}, "world_names.a.test"),
    ],
)
def test_refusals_name_field_and_allowed_values(values, text):
    with pytest.raises(UsageError) as error:
        ClusterConfig(**values)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("nodes: many", ": nodes: 'many' is not allowed"),
        ("ipFamilies: [ipv9]", ": ipFamilies: ['ipv9'] is not allowed"),
        ("nodePrefixLengths: {ipv4: 99}", ": nodePrefixLengths.ipv4: 99 is not allowed"),
        ("colour: red", ": colour: no such field; allowed: name, nodes, routing"),
        ("nodes: [", "is not YAML"),
        ("- 1", "must be a map of fields"),
    ],
)
def test_file_errors_are_one_line_with_file_and_field(tmp_path, body, text):
    path = tmp_path / "c.yaml"
    path.write_text(body)
    with pytest.raises(ManifestError) as error:
        ClusterConfig.from_file(path)
    assert str(path) in str(error.value)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_file_values_and_overrides(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: demo\nnodes: 2\nipFamilies: [ipv4]\npodCIDRs: [10.7.0.0/24]\n")
    config = ClusterConfig.from_file(path, nodes=4, routing=None)
    assert (config.name, config.nodes, config.pod_cidrs) == ("demo", 4, ("10.7.0.0/24",))
    with pytest.raises(ManifestError, match="cannot be read"):
        ClusterConfig.from_file(tmp_path / "none.yaml")
