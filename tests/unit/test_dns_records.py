"""Which names objects have: tables."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.dns import names
from glasshive.dns.records import pod_records, service_records, world_zone

DOMAIN = "cluster.local"


def service(name="echo", namespace="shop", **spec):
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def part(*endpoints, family="IPv4", ports=()):
    return {"addressType": family, "endpoints": list(endpoints), "ports": list(ports)}


def endpoint(address, *, ready=True, hostname=None):
    made = {"addresses": [address], "conditions": {} if ready is None else {"ready": ready}}
    return made | ({"hostname": hostname} if hostname else {})


HTTP = {"name": "http", "port": 80, "protocol": "TCP"}

TABLE = [
    (
        "dual stack, a named and an unnamed port",
        service(clusterIP="10.96.3.4", clusterIPs=["10.96.3.4", "fd00:10:96::34"], ports=[HTTP, {"port": 9}]),
        [],
        {
            "echo.shop.svc.cluster.local": {"A": ("10.96.3.4",), "AAAA": ("fd00:10:96::34",)},
            "4.3.96.10.in-addr.arpa": {"PTR": ("echo.shop.svc.cluster.local.",)},
            names.reverse_of("fd00:10:96::34"): {"PTR": ("echo.shop.svc.cluster.local.",)},
            "_http._tcp.echo.shop.svc.cluster.local": {"SRV": ("0 100 80 echo.shop.svc.cluster.local.",)},
        },
    ),
    ("no address yet", service(ports=[HTTP]), [], {}),
    (
        "ExternalName, spelled as people do",
        service(type="ExternalName", externalName="WWW.Example.com."),
        [],
        {"echo.shop.svc.cluster.local": {"CNAME": ("www.example.com.",)}},
    ),
    (
        "headless: ready endpoints only, one with a host name",
        service(clusterIP="None", clusterIPs=["None"]),
        [
            part(
                endpoint("10.244.1.7", hostname="db-0"),
                endpoint("10.244.1.8", ready=None),
                endpoint("10.244.1.9", ready=False),
                ports=[HTTP],
            )
        ],
        {
            "echo.shop.svc.cluster.local": {"A": ("10.244.1.7", "10.244.1.8")},
            "db-0.echo.shop.svc.cluster.local": {"A": ("10.244.1.7",)},
            "10-244-1-8.echo.shop.svc.cluster.local": {"A": ("10.244.1.8",)},
            "7.1.244.10.in-addr.arpa": {"PTR": ("db-0.echo.shop.svc.cluster.local.",)},
            "8.1.244.10.in-addr.arpa": {"PTR": ("10-244-1-8.echo.shop.svc.cluster.local.",)},
            "_http._tcp.echo.shop.svc.cluster.local": {
                "SRV": (
                    "0 100 80 db-0.echo.shop.svc.cluster.local.",
                    "0 100 80 10-244-1-8.echo.shop.svc.cluster.local.",
                )
            },
        },
    ),
    (
        "headless: both families of one host are one name",
        service(clusterIP="None"),
        [
            part(endpoint("10.244.1.7", hostname="db-0")),
            part(endpoint("fd00:10:244:1::7", hostname="db-0"), family="IPv6"),
        ],
        {
            "echo.shop.svc.cluster.local": {"A": ("10.244.1.7",), "AAAA": ("fd00:10:244:1::7",)},
            "db-0.echo.shop.svc.cluster.local": {"A": ("10.244.1.7",), "AAAA": ("fd00:10:244:1::7",)},
            "7.1.244.10.in-addr.arpa": {"PTR": ("db-0.echo.shop.svc.cluster.local.",)},
            names.reverse_of("fd00:10:244:1::7"): {"PTR": ("db-0.echo.shop.svc.cluster.local.",)},
        },
    ),
    (
        "headless: not ready, but published",
        service(clusterIP="None", publishNotReadyAddresses=True),
        [part(endpoint("10.244.1.9", ready=False, hostname="a"))],
        {
            "echo.shop.svc.cluster.local": {"A": ("10.244.1.9",)},
            "a.echo.shop.svc.cluster.local": {"A": ("10.244.1.9",)},
            "9.1.244.10.in-addr.arpa": {"PTR": ("a.echo.shop.svc.cluster.local.",)},
        },
    ),
    ("headless: nobody is ready", service(clusterIP="None"), [part(endpoint("10.244.1.9", ready=False))], {}),
    ("headless: endpoints that are names", service(clusterIP="None"), [part(endpoint("a.b"), family="FQDN")], {}),
]


@pytest.mark.parametrize(("what", "service", "slices", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_service_records(what, service, slices, expected):
    assert service_records(service, slices, DOMAIN) == expected


def test_pod_records():
    pod = {
        "metadata": {"name": "web", "namespace": "shop"},
        "status": {"podIPs": [{"ip": "10.244.1.7"}, {"ip": "fd00:10:244:1::7"}]},
    }
    assert pod_records(pod, DOMAIN) == {
        "10-244-1-7.shop.pod.cluster.local": {"A": ("10.244.1.7",)},
        "fd00-10-244-1--7.shop.pod.cluster.local": {"AAAA": ("fd00:10:244:1::7",)},
    }
    assert pod_records({"metadata": {"name": "new", "namespace": "shop"}}, DOMAIN) == {}


def test_world_names():
    zone = world_zone({"Example.com": ["203.0.113.10", "2001:db8::1"], "www.example.com": ["example.com"]})
    assert zone.look_up("example.com", "AAAA").data == ("2001:db8::1",)
    assert zone.look_up("www.example.com", "A").target == "example.com"
    assert zone.look_up("10.113.0.203.in-addr.arpa", "PTR").data == ("example.com.",)
    assert zone.look_up("com", "A").exists
    assert not zone.look_up("example.org", "A").exists


@pytest.mark.parametrize(
    ("cidr", "zones"),
    [
        ("10.96.0.0/16", ["96.10.in-addr.arpa"]),
        ("10.96.0.0/15", ["96.10.in-addr.arpa", "97.10.in-addr.arpa"]),
        ("10.96.7.128/31", ["128.7.96.10.in-addr.arpa", "129.7.96.10.in-addr.arpa"]),
        ("fd00:10:96::/48", ["6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa"]),
        ("fc00::/7", ["c.f.ip6.arpa", "d.f.ip6.arpa"]),
    ],
)
def test_reverse_zones(cidr, zones):
    assert names.reverse_zones(cidr) == zones


@pytest.mark.parametrize(
    ("address", "label"),
    [("10.244.0.7", "10-244-0-7"), ("fd00::5", "fd00--5"), ("::1", "0--1"), ("fd00::", "fd00--0")],
)
def test_dashed(address, label):
    assert names.dashed(address) == label


HOSTS = st.one_of(st.none(), st.sampled_from(["a", "b", "db-0"]))
ADDRESSES = {
    "IPv4": st.integers(0x0AF40001, 0x0AF4FFFE).map(lambda n: str(ipaddress.IPv4Address(n))),
    "IPv6": st.integers(1, 0xFFFF).map(lambda n: str(ipaddress.IPv6Address((0xFD00 << 112) + n))),
}
SLICES = st.lists(
    st.sampled_from(["IPv4", "IPv6"]).flatmap(
        lambda family: st.builds(
            lambda ends: part(*ends, family=family, ports=[HTTP, {"port": 9}]),
            st.lists(
                st.builds(
                    lambda address, ready, host: endpoint(address, ready=ready, hostname=host),
                    ADDRESSES[family],
                    st.sampled_from([True, False, None]),
                    HOSTS,
                ),
                max_size=5,
            ),
        )
    ),
    max_size=4,
)


@given(SLICES, st.booleans())
def test_headless_names_fit_together(slices, anyhow):
    """Seen from the outside: who is listed, that every name leads back, and that ports lead to addresses."""
    made = service_records(service(clusterIP="None", publishNotReadyAddresses=anyhow), slices, DOMAIN)
    owner = "echo.shop.svc.cluster.local"
    wanted = {
        address
        for one in slices
        for end in one["endpoints"]
        for address in end["addresses"]
        if anyhow or end["conditions"].get("ready", True)
    }

    def addresses(name):
        return {*made.get(name, {}).get("A", ()), *made.get(name, {}).get("AAAA", ())}

    assert addresses(owner) == wanted
    assert (owner in made) == bool(wanted)
    for address in wanted:
        targets = made[names.reverse_of(address)]["PTR"]
        assert targets
        assert all(address in addresses(target.rstrip(".")) for target in targets)
    ports = made.get(f"_http._tcp.{owner}", {}).get("SRV", ())
    reached = set().union(*(addresses(line.rpartition(" ")[2].rstrip(".")) for line in ports))
    assert reached == wanted
    pointers = {name for name, types in made.items() if "PTR" in types}
    assert pointers == {names.reverse_of(address) for address in wanted}
