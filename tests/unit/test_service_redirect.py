"""Local redirect policies: what they say, what they put into a node's tables, and what is wrong about them."""

from __future__ import annotations

from typing import Any

from glasshive.api.local_redirect_policy import CILIUM_LOCAL_REDIRECT_POLICY, LocalRedirect, read_redirect
from glasshive.model.address import parse
from glasshive.model.service import FrontendType, Service, ServicePort, ServiceRef
from glasshive.operator.redirect_status import fault_of
from glasshive.service.redirect import RedirectPod, redirected

DNS = Service(
    ServiceRef("ns", "dns"),
    cluster_addresses=(parse("10.96.0.9"), parse("fd00:10:96::9")),
    ports=(ServicePort("udp", 17, 53), ServicePort("tcp", 6, 53)),
)
POD = RedirectPod("ns/a", (parse("10.244.1.5"), parse("fd00:10:244:1::5")))
OTHER = RedirectPod("ns/b", (parse("10.244.1.6"),))


def port(number: int, protocol: str = "TCP", name: str = "") -> dict[str, str]:
    return {"port": str(number), "protocol": protocol, **({"name": name} if name else {})}


def policy(front: Any, *back: dict[str, str], name: str = "p", created: str = "1", **spec: Any) -> LocalRedirect:
    backend = {"localEndpointSelector": {"matchLabels": {"app": "x"}}, "toPorts": list(back)}
    whole = {"redirectFrontend": front, "redirectBackend": backend, **spec}
    return read_redirect(
        CILIUM_LOCAL_REDIRECT_POLICY.object(name, "ns", metadata={"creationTimestamp": created}, spec=whole)
    )


def by_address(*ports: dict[str, str], ip: str = "169.254.169.254") -> Any:
    return {"addressMatcher": {"ip": ip, "toPorts": list(ports)}}


def by_service(*ports: dict[str, str], namespace: str = "ns") -> Any:
    more = {"toPorts": list(ports)} if ports else {}
    return {"serviceMatcher": {"serviceName": "dns", "namespace": namespace, **more}}


def table(one: LocalRedirect, service: Service | None = None, *pods: RedirectPod) -> dict[str, list[str]]:
    made = redirected(one, service, pods)
    assert all(front.type == FrontendType.LOCAL_REDIRECT for front in made.tables.frontends)
    assert {place for front in made.tables.frontends for place, _ in front.internal} == {
        place for place, backend in made.tables.backends if backend.local
    }
    return {str(front.place): [str(place) for place, _ in front.internal] for front in made.tables.frontends}


def why(one: LocalRedirect, service: Service | None = None, *pods: RedirectPod) -> str:
    made = redirected(one, service, pods or (POD,))
    assert not made.tables.frontends
    return made.why


def test_an_address_is_answered_by_all_ready_pods_of_its_family() -> None:
    one = policy(by_address(port(80)), port(8080))
    assert table(one, None, POD, OTHER) == {"169.254.169.254:80/TCP": ["10.244.1.5:8080/TCP", "10.244.1.6:8080/TCP"]}
    six = policy(by_address(port(80), ip="fd00:169::254"), port(8080))
    assert table(six, None, POD, OTHER) == {"[fd00:169::254]:80/TCP": ["[fd00:10:244:1::5]:8080/TCP"]}


def test_several_ports_are_paired_by_name() -> None:
    front = by_address(port(80, name="web"), port(53, "UDP", name="dns"))
    one = policy(front, port(5353, "UDP", name="DNS"), port(8080, name="web"))
    assert table(one, None, POD) == {
        "169.254.169.254:80/TCP": ["10.244.1.5:8080/TCP"],
        "169.254.169.254:53/UDP": ["10.244.1.5:5353/UDP"],
    }
    assert "no port of the same name" in why(policy(front, port(8080, name="web")))
    assert "port 80 is TCP, port 53 that answers is UDP" in why(policy(by_address(port(80)), port(53, "UDP")))


def test_a_service_is_redirected_with_all_of_its_ports_or_some() -> None:
    both = port(5353, "UDP", "udp"), port(5354, "TCP", "tcp")
    assert table(policy(by_service(), *both), DNS, POD) == {
        "10.96.0.9:53/UDP": ["10.244.1.5:5353/UDP"],
        "10.96.0.9:53/TCP": ["10.244.1.5:5354/TCP"],
        "[fd00:10:96::9]:53/UDP": ["[fd00:10:244:1::5]:5353/UDP"],
        "[fd00:10:96::9]:53/TCP": ["[fd00:10:244:1::5]:5354/TCP"],
    }
    one = policy(by_service(port(53, "UDP", "udp")), port(5353, "UDP"))
    assert list(table(one, DNS, OTHER)) == ["10.96.0.9:53/UDP"]
    assert "has no port 54" in why(policy(by_service(port(54)), port(1)), DNS)


def test_what_cannot_be_redirected_is_named() -> None:
    assert "there is no Service ns/dns" in why(policy(by_service(), port(1)))
    assert "must be the policy's own, ns" in why(policy(by_service(namespace="other"), port(1)), DNS)
    lb = Service(ServiceRef("ns", "dns"), type="LoadBalancer", cluster_addresses=DNS.cluster_addresses)
    assert "of type LoadBalancer; only ClusterIP" in why(policy(by_service(), port(1)), lb)
    assert "is headless" in why(policy(by_service(), port(1)), Service(ServiceRef("ns", "dns")))
    assert "addressMatcher or serviceMatcher" in why(policy({**by_address(port(1)), **by_service()}, port(1)))
    assert "is not an IP address" in why(policy(by_address(port(1), ip="x"), port(1)))
    assert redirected(policy(by_address(port(80)), port(8080)), None, ()).why == "no ready pod of this node is selected"


def test_of_two_that_redirect_the_same_the_older_one_does() -> None:
    first = policy(by_address(port(80)), port(8080), name="z", created="1")
    second = policy(by_address(port(80)), port(9090), name="a", created="2")
    free = policy(by_address(port(81)), port(9090), name="b", created="2")
    known = {one.ref: one for one in (first, second, free)}
    assert fault_of(first, known, {}) == ""
    assert fault_of(free, known, {}) == ""
    assert "169.254.169.254:80/TCP is redirected by ns/z already" in fault_of(second, known, {})
    assert redirected(first, None, [POD]).tables.order < redirected(second, None, [POD]).tables.order
