"""The status lines of services: nothing is claimed that no program does."""

from __future__ import annotations

from glasshive.agent.services.details import Abilities, details, lines
from glasshive.model.address import parse
from glasshive.service.settings import ServiceSettings


def test_tables_alone_are_no_replacement() -> None:
    found = details(Abilities(), ServiceSettings(), "eth0", (parse("192.0.2.1"),))
    assert found["Status"] == "False"
    assert found["Socket LB"] == "Disabled"
    assert found["Services"]["NodePort"] == "Disabled (Range: 30000-32767)"


def test_the_lines_that_people_know() -> None:
    abilities = Abilities(socket=True, devices=True, xdp="Native")
    told = ServiceSettings(algorithm="maglev", mode="dsr")
    text = lines(details(abilities, told, "eth0", (parse("192.0.2.1"), parse("2001:db8::1"))))
    assert text[:4] == [
        "KubeProxyReplacement Details:",
        "  Status:               True",
        "  Socket LB:            Enabled",
        "  Socket LB Tracing:    Disabled",
    ]
    assert "  Devices:              eth0 192.0.2.1 2001:db8::1 (Direct Routing)" in text
    assert "  Mode:                 SNAT (dsr was asked for and is not done yet)" in text
    assert "  Backend Selection:    Maglev (Table Size: 16381)" in text
    assert "  XDP Acceleration:     Native" in text
    assert text[-6:] == [
        "  Services:",
        "  - ClusterIP:      Enabled",
        "  - NodePort:       Enabled (Range: 30000-32767)",
        "  - LoadBalancer:   Enabled",
        "  - externalIPs:    Enabled",
        "  - HostPort:       Enabled",
    ]
