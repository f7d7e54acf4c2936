"""The node that packet tests play on: its maps as an agent would fill them for the cast of ``packets``."""

from __future__ import annotations

import datapath as dp
import packets as pk

LO = 1
"""A test run's device must exist: the loopback plays the client pod's host side, or the node's own device."""
SERVER, STRANGER = 100_002, 100_003
INGRESS, EGRESS = 1, 2


def furnish(path: dp.Datapath) -> None:
    """Three pods, the node's own addresses, another node with its pods by native routing, and the world."""
    for family in pk.FAMILIES:
        path.add_endpoint(pk.address("client", family), LO, identity=1001)
        path.add_endpoint(pk.address("server", family), SERVER, identity=1002)
        path.add_endpoint(pk.address("stranger", family), STRANGER, identity=1003)
        path.add_endpoint(pk.address("router", family), 3, identity=1, flags=dp.HOST | dp.ROUTER)
        path.add_endpoint(pk.address("node", family), 2, identity=1, flags=dp.HOST)
        path.add_ipcache(pk.address("node", family), identity=1)
        node = pk.address("other-node", family)
        path.add_ipcache(node, identity=6, node=node, flags=dp.IN_CLUSTER | dp.ONLINK)
    path.add_ipcache("10.244.1.0/24", identity=2)
    path.add_ipcache("fd00:10:244:1::/64", identity=2)
    path.add_ipcache("10.244.2.0/24", identity=2, node="172.30.0.12", flags=dp.IN_CLUSTER | dp.ONLINK)
    path.add_ipcache("fd00:10:244:2::/64", identity=2, node="fd30::12", flags=dp.IN_CLUSTER | dp.ONLINK)
    path.add_ipcache("0.0.0.0/0", identity=9, flags=0)
    path.add_ipcache("::/0", identity=10, flags=0)
