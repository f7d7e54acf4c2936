"""What features need of a node's network, be it eBPF (``agent.datapath``) or the kernel's own (``agent.plain``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from glasshive.agent.config import AgentConfig
from glasshive.endpoint.departures import Departures
from glasshive.endpoint.table import EndpointTable
from glasshive.identity.reserved import ReservedIdentities
from glasshive.model.address import Address, Prefix
from glasshive.model.endpoint import PodRef
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts
from glasshive.routing.desired import Route
from glasshive.routing.sync import RouteSync


class Addresses(Protocol):
    """Who is told which addresses nodes and pods have: ``ipcache.sync``."""

    def set_node(self, node: NodeFacts) -> None:
        """A node appeared or changed."""

    def remove_node(self, name: str) -> None:
        """A node has gone."""

    def set_pod(self, pod: PodFacts, identity: int) -> None:
        """A pod has this identity."""

    def remove_pod(self, ref: PodRef) -> None:
        """A pod has gone."""

    def set_apiserver(self, addresses: Iterable[Address], identity: int) -> None:
        """Addresses of the Kubernetes API."""


class NodeNetwork(Protocol):
    """A node's network."""

    @property
    def config(self) -> AgentConfig:
        """What the agent was told."""

    @property
    def node(self) -> NodeFacts:
        """The node's addresses and pod prefixes."""

    @property
    def endpoints(self) -> EndpointTable:
        """The pods that are attached."""

    @property
    def departures(self) -> Departures:
        """Those that are leaving."""

    @property
    def ipcache(self) -> Addresses:
        """Who is who."""

    @property
    def routes(self) -> RouteSync:
        """Routes of the node's namespace."""

    @property
    def reserved(self) -> ReservedIdentities:
        """Numbers that every node knows."""

    def wanted_routes(self, nodes: Sequence[NodeFacts]) -> Mapping[Prefix, Route]:
        """The routes that follow from all nodes."""

    def hurry(self) -> None:
        """Pods are being attached or detached."""

    def reconcile(self) -> int:
        """Compare with the kernel and mend; how much was wrong."""

    def set_services(self, addresses: Sequence[Address], identity: int) -> None:
        """Service addresses that the node itself answers at have this identity."""
