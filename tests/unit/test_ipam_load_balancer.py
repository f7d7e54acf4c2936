"""LB IPAM's allocator: who gets which address, who may share, what becomes free."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from glasshive.api.load_balancer_pool import LoadBalancerPool, pool_of
from glasshive.api.load_balancer_request import AddressRequest, request_of
from glasshive.api.resources import SERVICE
from glasshive.api.selectors import parse_labels
from glasshive.ipam.load_balancer import Answer, LoadBalancerAddresses
from glasshive.ipam.pool_conflicts import conflicts
from glasshive.model.span import Span, number, text_of


def pool(name: str, *blocks: str, created: str = "", labels: str = "", disabled: bool = False) -> LoadBalancerPool:
    spans = tuple(Span.of_prefix(b) if "/" in b else Span.between(*b.split("-")) for b in blocks)
    return LoadBalancerPool(name, created, spans, parse_labels(labels), disabled)


def request(name: str, *, namespace: str = "default", ips: str = "", key: str = "", **more: Any) -> AddressRequest:
    wanted = tuple(number(one) for one in ips.split(",") if one)
    more.setdefault("ports", frozenset({("TCP", 80)}))
    labels = {"io.kubernetes.service.name": name, **more.pop("labels", {})}
    return AddressRequest((namespace, name), wanted=wanted, sharing_key=key, labels=labels, **more)


def addresses(*pools: LoadBalancerPool) -> LoadBalancerAddresses:
    made = LoadBalancerAddresses()
    made.set_pools(pools)
    return made


def told(answer: Answer) -> tuple[str, str]:
    return ",".join(map(text_of, answer.addresses)), answer.reason


def test_each_family_gets_an_address_and_a_released_one_is_given_again() -> None:
    given = addresses(pool("p", "10.9.0.0/30", "fd00:9::/64"))
    both = {"families": (4, 6)}
    assert told(given.assign(request("a", **both))) == ("10.9.0.0,fd00:9::", "satisfied")
    assert told(given.assign(request("b", families=(6,)))) == ("fd00:9::1", "satisfied")
    assert given.counts("p") == (4 + (1 << 64), 4 + (1 << 64) - 3, 3)
    assert told(given.assign(request("a", **both))) == ("10.9.0.0,fd00:9::", "satisfied")
    given.release(("default", "a"))
    assert told(given.assign(request("c", **both))) == ("10.9.0.0,fd00:9::", "satisfied")


def test_a_full_pool_says_so_and_the_next_pool_helps() -> None:
    given = addresses(pool("p", "10.9.0.0/32"))
    given.assign(request("a"))
    late = given.assign(request("b"))
    assert told(late) == ("", "out_of_ips")
    assert "pool p" in late.message
    given.set_pools([pool("p", "10.9.0.0/32"), pool("q", "10.9.1.7")])
    assert told(given.assign(request("b"))) == ("10.9.1.7", "satisfied")


def test_only_a_usable_pool_that_selects_the_service_gives() -> None:
    blue = pool("blue", "10.1.0.0/24", labels="color=blue")
    off = pool("off", "10.2.0.0/24", disabled=True)
    named = pool("named", "10.3.0.0/24", labels="io.kubernetes.service.name=web")
    given = addresses(blue, off, named)
    assert told(given.assign(request("a"))) == ("", "no_pool")
    assert told(given.assign(request("a", labels={"color": "blue"}))) == ("10.1.0.0", "satisfied")
    assert told(given.assign(request("web"))) == ("10.3.0.0", "satisfied")
    assert told(given.assign(request("x", families=(6,), labels={"color": "blue"}))) == ("", "no_pool")


def test_requested_addresses_are_given_or_the_reason_why_not() -> None:
    given = addresses(pool("p", "10.9.0.0/24"), pool("q", "10.8.0.0/24", labels="color=blue"))
    assert told(given.assign(request("a", ips="10.9.0.7,10.9.0.9"))) == ("10.9.0.7,10.9.0.9", "satisfied")
    assert told(given.assign(request("b", ips="10.9.0.7"))) == ("", "already_allocated")
    assert told(given.assign(request("b", ips="10.7.0.7"))) == ("", "no_pool")
    assert told(given.assign(request("b", ips="10.8.0.7"))) == ("", "pool_selector_mismatch")
    assert told(given.assign(request("b", ips="10.9.0.8,10.7.0.1"))) == ("10.9.0.8", "no_pool")
    assert told(given.assign(request("b", ips="fd00::1"))) == ("", "invalid_request")
    assert told(given.assign(request("b", ips="10.9.0.10"))) == ("10.9.0.10", "satisfied")
    assert told(given.assign(request("c", ips="10.9.0.8"))) == ("10.9.0.8", "satisfied")  # b has it no more


def test_services_share_an_address_by_key_port_policy_and_namespace() -> None:
    given = addresses(pool("p", "10.9.0.0/24"))
    udp, https = frozenset({("UDP", 80)}), frozenset({("TCP", 443)})
    assert told(given.assign(request("a", key="k")))[0] == "10.9.0.0"
    assert told(given.assign(request("b", key="k", ports=udp)))[0] == "10.9.0.0"
    assert told(given.assign(request("clash", key="k")))[0] == "10.9.0.1"
    assert told(given.assign(request("other", key="l", ports=https)))[0] == "10.9.0.2"
    assert told(given.assign(request("local", key="k", ports=https, local=True)))[0] == "10.9.0.3"
    assert told(given.assign(request("far", namespace="z", key="k", ports=https)))[0] == "10.9.0.4"
    ips = given.assign(request("d", ips="10.9.0.0", key="k"))
    assert told(ips) == ("", "already_allocated_incompatible_service")
    assert "port 80/TCP" in ips.message
    given.release(("default", "a"))
    assert told(given.assign(request("e")))[0] == "10.9.0.5"  # b still has the first


def test_sharing_over_namespaces_needs_both_to_agree() -> None:
    given = addresses(pool("p", "10.9.0.0/24"))
    https = frozenset({("TCP", 443)})
    one = request("a", key="k", shares_with=frozenset({"z"}))
    far = request("b", namespace="z", key="k", ports=https)
    given.assign(one)
    assert told(given.assign(far))[0] == "10.9.0.1"
    given.release(far.key)
    assert told(given.assign(replace(far, shares_with=frozenset({"*"}))))[0] == "10.9.0.0"


def test_a_service_that_no_longer_fits_its_fellows_moves() -> None:
    given = addresses(pool("p", "10.9.0.0/24"))
    given.assign(request("a", key="k"))
    given.assign(request("b", key="k", ports=frozenset({("UDP", 53)})))
    assert told(given.assign(request("b", key="k")))[0] == "10.9.0.1"
    assert told(given.assign(request("a", key="")))[0] == "10.9.0.0"


def test_services_keep_what_they_have_while_their_pool_may_give_it() -> None:
    given = addresses(pool("p", "10.9.0.0/24"))
    given.assign(request("a"))
    given.set_pools([pool("p", "10.9.0.0/24", disabled=True)])
    assert told(given.assign(request("a"))) == ("10.9.0.0", "satisfied")
    assert told(given.assign(request("b"))) == ("", "no_pool")
    given.set_pools([pool("p", "10.9.0.0/24", labels="color=blue")])
    assert told(given.assign(request("a"))) == ("", "no_pool")
    given.set_pools([pool("p", "10.9.0.128/25"), pool("q", "10.8.0.0/24")])
    assert told(given.assign(request("a"))) == ("10.9.0.128", "satisfied")


def test_what_was_given_before_a_restart_is_taken_over() -> None:
    given = addresses(pool("p", "10.9.0.0/29"))
    given.restore(request("b"), [number("10.9.0.0")])
    given.restore(request("c"), [number("10.9.0.0"), number("10.7.0.0")])
    assert given.held(("default", "c")) == ()
    assert told(given.assign(request("a")))[0] == "10.9.0.1"
    assert told(given.assign(request("b")))[0] == "10.9.0.0"
    assert told(given.assign(request("c")))[0] == "10.9.0.2"


def test_one_family_is_enough_for_who_only_prefers_both() -> None:
    given = addresses(pool("p", "10.9.0.0/24"))
    assert told(given.assign(request("a", families=(4, 6), prefers_both=True))) == ("10.9.0.0", "satisfied")
    assert told(given.assign(request("b", families=(4, 6)))) == ("10.9.0.1", "no_pool")


def test_the_younger_of_two_pools_that_overlap_is_not_used() -> None:
    old, young = pool("z", "10.9.0.0/24", created="1"), pool("a", "10.9.0.200-10.9.1.4", created="2")
    found = conflicts([young, old])
    assert list(found) == ["a"]
    assert found["a"] == "block 10.9.0.200-10.9.1.4 overlaps pool z (10.9.0.0/24)"
    assert "same pool" in conflicts([pool("p", "10.9.0.0/24", "10.9.0.7")])["p"]
    assert conflicts([old], [(Span.of_prefix("10.9.0.0/16"), "the pods' CIDR 10.9.0.0/16")]) == {
        "z": "block 10.9.0.0/24 overlaps the pods' CIDR 10.9.0.0/16"
    }
    given = addresses(old, young)
    assert told(given.assign(request("a", ips="10.9.1.1"))) == ("", "no_pool")
    given.set_pools([young])
    assert told(given.assign(request("a", ips="10.9.1.1"))) == ("10.9.1.1", "satisfied")


def test_a_pool_object_is_read_with_its_faults() -> None:
    def spans(**spec: Any) -> list[tuple[str, str]]:
        found = pool_of({"metadata": {"name": "p"}, "spec": spec})
        assert not found.fault
        return [(text_of(span.first), text_of(span.last)) for span in found.spans]

    blocks = [{"cidr": "10.0.0.0/29"}, {"cidr": "10.0.1.0/31"}, {"start": "10.0.2.1", "stop": "10.0.2.3"}]
    assert spans(blocks=blocks)[0] == ("10.0.0.0", "10.0.0.7")
    assert spans(blocks=blocks, allowFirstLastIPs="No") == [
        ("10.0.0.1", "10.0.0.6"),
        ("10.0.1.0", "10.0.1.1"),
        ("10.0.2.1", "10.0.2.3"),
    ]
    assert spans(blocks=[{"start": "fd00::7"}]) == [("fd00::7", "fd00::7")]
    for block in ({"cidr": "10.0.0.0/33"}, {"start": "x"}, {"start": "10.0.0.2", "stop": "10.0.0.1"}, {},
                  {"start": "10.0.0.1", "stop": "fd00::1"}, {"cidr": "10.0.0.0/8", "start": "10.0.0.1"}):  # fmt: skip
        found = pool_of({"metadata": {"name": "p"}, "spec": {"blocks": [{"start": "10.0.0.1"}, block]}})
        assert found.fault.startswith("spec.blocks[1]: "), block
        assert conflicts([found])


def test_a_service_is_read_with_its_annotations_of_either_generation() -> None:
    annotations = {"io.cilium/lb-ipam-ips": "10.9.0.1, fd00::1", "lbipam.cilium.io/sharing-key": "k",
                   "lbipam.cilium.io/sharing-cross-namespace": "a, b"}  # fmt: skip
    spec = {"ports": [{"port": 53, "protocol": "UDP"}], "loadBalancerIP": "10.9.0.9", "ipFamilies": ["IPv6", "IPv4"]}
    found = request_of(SERVICE.object("web", metadata={"annotations": annotations}, spec=spec))
    assert found.wanted == (number("10.9.0.1"), number("fd00::1"))
    assert (found.sharing_key, found.shares_with, found.families) == ("k", {"a", "b"}, (6, 4))
    assert request_of(SERVICE.object("web", spec=spec)).wanted == (number("10.9.0.9"),)
    bad = {"lbipam.cilium.io/ips": "10.9.0.1;10.9.0.2"}
    refused = addresses(pool("p", "10.9.0.0/24")).assign(
        request_of(SERVICE.object("web", metadata={"annotations": bad}, spec=spec))
    )
    assert told(refused) == ("", "invalid_request")
    assert "lbipam.cilium.io/ips" in refused.message
