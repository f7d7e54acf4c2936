"""Which node may answer for which service, what a lease says, and how an announcement looks on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from glasshive.api.l2_announcement_policy import L2Service, policy_of, service_of
from glasshive.api.resources import SERVICE
from glasshive.errors import UsageError
from glasshive.l2.desired import desired
from glasshive.l2.lease import Terms, given_up, is_free, lease_name, taken
from glasshive.model.address import parse
from glasshive.net.announce import arp_announcement, neighbour_advertisement
from glasshive.net.neighbour_answers import answer_of, asked_by_arp, asked_by_solicitation

VIP, VIP6, EXTERNAL = parse("172.30.0.9"), parse("fd30::9"), parse("172.30.0.10")
WEB = L2Service(("ns", "web"), (("app", "web"), ("io.kubernetes.service.name", "web")), (EXTERNAL,), (VIP, VIP6))
DEVICES = {"eth0": 2, "eth1": 3, "wg0": 4}
MAC = bytes.fromhex("020000000077")
NOW = datetime(2026, 11, 28, 4, 0, 0, 250_000, UTC)


def policy(**spec: Any) -> Any:
    return policy_of({"metadata": {"name": "p"}, "spec": {"loadBalancerIPs": True, **spec}})


def answers(*policies: Any, services: Any = (WEB,), labels: Any = None, backends: Any = ()) -> Any:
    return desired(policies, services, labels or {}, DEVICES, with_backend=backends)


def test_addresses_and_devices_are_those_that_the_policy_names() -> None:
    assert answers(policy(interfaces=["^eth"])) == {WEB.key: {(a, i) for a in (VIP, VIP6) for i in (2, 3)}}
    assert answers(policy(interfaces=["0$"], loadBalancerIPs=False, externalIPs=True)) == {
        WEB.key: {(EXTERNAL, 2), (EXTERNAL, 4)}
    }
    assert answers(policy(loadBalancerIPs=False)) == {}
    assert len(answers(policy(), policy(externalIPs=True))[WEB.key]) == 9
    with pytest.raises(UsageError, match=r"'\['"):
        policy(interfaces=["["])


def test_nodes_and_services_are_selected_by_labels() -> None:
    far = policy(nodeSelector={"matchLabels": {"rack": "b"}})
    assert answers(far) == {}
    assert answers(far, labels={"rack": "b"})
    assert answers(policy(serviceSelector={"matchLabels": {"io.kubernetes.service.name": "web"}}))
    assert answers(policy(serviceSelector={"matchLabels": {"app": "db"}})) == {}


def test_local_services_need_a_backend_here() -> None:
    local = L2Service(("ns", "web"), (), (), (VIP,), local=True)
    assert answers(policy(), services=[local]) == {}
    assert answers(policy(), services=[local], backends={("ns", "web")})


def test_a_service_object_is_read() -> None:
    def read(**more: Any) -> L2Service | None:
        spec = {"type": "LoadBalancer", "externalIPs": ["172.30.0.10", "x"], **more}
        status = {"loadBalancer": {"ingress": [{"ip": "172.30.0.9"}, {"hostname": "h"}, {"ip": "fd30::9"}]}}
        return service_of(SERVICE.object("web", "ns", metadata={"labels": {"app": "web"}}, spec=spec, status=status))

    found = read()
    assert found is not None
    assert (found.external, found.balancer, found.local) == ((EXTERNAL,), (VIP, VIP6), False)
    assert dict(found.labels)["io.kubernetes.service.namespace"] == "ns"
    assert (read(externalTrafficPolicy="Local") or WEB).local
    assert read(loadBalancerClass="io.cilium/bgp-control-plane") is None
    assert read(loadBalancerClass="io.cilium/l2-announcer") == found
    assert (read(type="ClusterIP") or WEB).balancer == ()


def test_a_lease_is_taken_when_it_is_new_left_or_silent_for_too_long() -> None:
    terms = Terms(15, 5, 2)
    first = taken(None, WEB.key, "node1", NOW, terms)
    assert first["metadata"] == {"name": "cilium-l2announce-ns-web", "namespace": "kube-system"}
    assert lease_name(WEB.key) == first["metadata"]["name"]
    assert first["spec"] == {
        "holderIdentity": "node1", "leaseDurationSeconds": 15, "leaseTransitions": 0,
        "acquireTime": "2026-11-28T04:00:00.250000Z", "renewTime": "2026-11-28T04:00:00.250000Z",
    }  # fmt: skip
    assert is_free(None, 0, terms)
    assert not is_free(first, 15, terms)
    assert is_free(first, 15.1, terms)
    left = given_up(first, NOW)
    assert is_free(left, 0, terms)
    second = taken(left, WEB.key, "node2", NOW.replace(second=9), terms)
    assert second["spec"]["leaseTransitions"] == 1
    kept = taken(second, WEB.key, "node2", NOW.replace(second=11), terms)
    assert kept["spec"]["leaseTransitions"] == 1
    assert (kept["spec"]["acquireTime"], kept["spec"]["renewTime"]) == (
        "2026-11-28T04:00:09.250000Z",
        "2026-11-28T04:00:11.250000Z",
    )


def test_questions_are_answered_by_a_process_as_by_the_program() -> None:
    mac, asker = "02:00:00:00:00:77", "02:00:00:00:00:01"
    arp = Ether(src=asker, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=asker, psrc="172.30.0.1", pdst="172.30.0.9")
    assert asked_by_arp(bytes(arp)) == VIP
    answer = ARP(op=2, hwsrc=mac, psrc="172.30.0.9", hwdst=asker, pdst="172.30.0.1")
    assert answer_of(bytes(arp), VIP, MAC) == bytes(Ether(src=mac, dst=asker) / answer)
    assert asked_by_arp(arp_announcement(VIP, MAC)) is None
    assert asked_by_arp(bytes(Ether(src=asker) / answer)) is None
    assert asked_by_arp(bytes(arp)[:40]) is None
    for source, to in (("fd30::1", "fd30::1"), ("::", "ff02::1")):
        ask = Ether(src=asker, dst="33:33:ff:00:00:09") / IPv6(src=source, dst="ff02::1:ff00:9", hlim=255)
        ask /= ICMPv6ND_NS(tgt="fd30::9")
        assert asked_by_solicitation(bytes(ask)) == VIP6
        told = Ether(src=mac, dst=asker) / IPv6(src="fd30::9", dst=to, hlim=255)
        told /= ICMPv6ND_NA(R=0, S=source != "::", O=1, tgt="fd30::9") / ICMPv6NDOptDstLLAddr(lladdr=mac)
        assert answer_of(bytes(ask), VIP6, MAC) == bytes(told)
    far = Ether(src=asker) / IPv6(src="fd30::1", dst="fd30::9", hlim=64) / ICMPv6ND_NS(tgt="fd30::9")
    assert asked_by_solicitation(bytes(far)) is None
    assert asked_by_solicitation(neighbour_advertisement(VIP6, MAC)) is None


def test_announcements_are_what_the_standards_say() -> None:
    mac = "02:00:00:00:00:77"
    arp = ARP(op=1, hwsrc=mac, psrc="172.30.0.9", hwdst="00:00:00:00:00:00", pdst="172.30.0.9")
    assert arp_announcement(VIP, MAC) == bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / arp)
    frame = Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src="fd30::9", dst="ff02::1", hlim=255)
    frame /= ICMPv6ND_NA(R=0, S=0, O=1, tgt="fd30::9") / ICMPv6NDOptDstLLAddr(lladdr=mac)
    assert neighbour_advertisement(VIP6, MAC) == bytes(frame)
