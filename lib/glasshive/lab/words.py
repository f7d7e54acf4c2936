"""Why the datapath drops packets, in words for a learner: what it means, and where to look next.

Names are those of the C enum ``gh_drop_reason`` as the library prints them; a test keeps the two together.
"""

from __future__ import annotations

DROP_REASONS: dict[str, str] = {
    "none": "nothing was dropped",
    "invalid-source-ip": "the pod sent from an address that is not its own: compare it with the map of endpoints",
    "invalid-packet": "the IP header is broken, or longer than the packet",
    "invalid-l4-header": "the TCP, UDP, SCTP or ICMP header is broken or cut off",
    "unsupported-l3": "the packet is neither IPv4, IPv6 nor ARP",
    "write-failed": "the kernel would not let the program change the packet",
    "tunnel-key": "it arrived on the overlay without saying from which identity",
    "unroutable": "its destination is a loopback, unspecified or link-local address, which leads nowhere from a pod",
    "no-endpoint": "its destination is a pod address of this node that no pod has: a pod that is gone, or never was",
    "ct-create": "there was no room for another connection: look at the conntrack map's size",
    "invalid-extension": "its IPv6 extension headers are broken, too many, or ask for source routing",
    "no-backend": "the service has no backend that may be chosen",
    "cluster-ip": "from outside the cluster, to a service address that only the cluster may call",
    "source-range": "the service's loadBalancerSourceRanges leave this client out",
    "no-tunnel": "its destination wants a tunnel, and this node has none",
    "unsupported-l2": "the frame is shorter than an Ethernet header",
    "nat-exhausted": "no port was free to masquerade with towards this destination",
    "nat-unsupported": "its protocol cannot share the node's address",
    "fragment-unknown": "it is a later fragment of a datagram whose first one was not seen",
    "vlan": "a pod sent a frame with a VLAN tag",
    "ttl-exceeded": "it had been through too many hops",
    "multicast": "its destination is a multicast or broadcast address, which leads nowhere from a pod",
    "neighbour": "it is ARP or neighbour discovery, but not a question for the gateway",
    "icmp-unrelated": "it is an ICMP error about a connection that nobody has",
    "nat-collision": "the node's own packet would take the place of a masqueraded connection",
    "nat-no-address": "the node has no address of this family to masquerade with",
    "policy": "policies select the pod, and none of their rules allows this: look at what they do allow",
    "policy-deny": "a rule of a policy forbids exactly this: a rule that denies wins over any that allows",
    "wrong-pod": "it was handed to a pod that does not own its destination",
}


# What columns of maps, routes and records hold, by name.
COLUMNS: dict[str, str] = {
    "addr": "an address, or the beginning of a range",
    "address": "an address",
    "device": "a network device",
    "flags": "bits; bpf/types says which",
    "gateway": "the next hop, '' on the same wire",
    "host_mac": "MAC of the node's end",
    "identity": "the number for a set of labels",
    "ifindex": "number of a device, by which programs know it",
    "mac": "MAC of the pod's end",
    "node_addr": "address of the node behind which it is; :: is this node",
    "prefixlen": "how many bits of the address count, of 128 (IPv4 lies behind ::ffff:)",
    "protocol": "1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6",
    "low": "the lower end of a connection",
    "high": "its other end",
    "reason": "why it was dropped",
    "destination": "where the route, or the packet, leads",
}


def drop_reason(name: str) -> str:
    """Say what a drop reason means; an unknown one says so."""
    return DROP_REASONS.get(name, "a reason that this lab kit does not know: see bpf/types/drop.h")
