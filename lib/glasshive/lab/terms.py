"""The field's terms as this project uses them: what each is, where it lives here, and what Cilium calls it.

``lab.explain`` reads them to learners, and notebooks link each term once to its place. A test keeps the places true.
"""

from __future__ import annotations

from typing import NamedTuple


class Term(NamedTuple):
    """One term. ``place`` is a path in the repository, ``cilium`` the name there ('' if it is the same)."""

    what: str
    place: str
    cilium: str = ""


TERMS: dict[str, Term] = {
    "agent": Term(
        "the program on every node that plugs pods in and fills the maps; packets do not pass through it",
        "lib/glasshive/agent/agent.py",
        "cilium-agent",
    ),
    "backend": Term("a pod address that a service's frontend leads to", "lib/glasshive/operator/endpoint_slice.py"),
    "CNI": Term(
        "the call by which a runtime asks for a pod to be plugged in (ADD) or out (DEL)",
        "lib/glasshive/agent/cni.py",
        "cilium-cni",
    ),
    "conntrack": Term(
        "the map of connections that a node has seen, one entry for both directions",
        "lib/glasshive/maps/conntrack.py",
        "cilium_ct4_global",
    ),
    "control plane": Term(
        "API server and controllers: they keep and change objects; packets do not need them",
        "lib/glasshive/operator/operator.py",
        "kube-apiserver, cilium-operator",
    ),
    "drop reason": Term("the number that says why a program dropped a packet", "bpf/types/drop.h"),
    "endpoint": Term("what a node knows about one of its pods", "lib/glasshive/model/endpoint.py"),
    "endpoints": Term(
        "the map from a local address to the device that leads there", "bpf/types/endpoint.h", "cilium_lxc"
    ),
    "fabric": Term(
        "the network that the nodes are plugged into", "lib/glasshive/cluster/embedded/fabric.py", "underlay"
    ),
    "flow": Term("an event about a packet, with names instead of numbers", "lib/glasshive/agent/drop_watch.py"),
    "fragments": Term(
        "the map that lets later fragments follow their first one", "bpf/lib/fragment.h", "cilium_ipv4_frag_datagrams"
    ),
    "identity": Term(
        "a number for a set of labels: pods with the same labels share it, and policy is written for it",
        "lib/glasshive/identity/allocator.py",
    ),
    "ipcache": Term(
        "the map from any address to its identity and the node behind which it is",
        "bpf/types/ipcache.h",
        "cilium_ipcache",
    ),
    "link": Term("what holds a program at its hook; pinned, it outlives who made it", "lib/glasshive/bpf/link.py"),
    "map": Term("a table that programs in the kernel and processes share", "lib/glasshive/bpf/map.py"),
    "masquerade": Term("rewriting a pod's address to its node's for packets that leave the cluster", "bpf/lib/nat.h"),
    "nat": Term(
        "the map of connections whose source was rewritten", "lib/glasshive/maps/nat.py", "cilium_snat_v4_external"
    ),
    "operator": Term("the controllers that act once for the whole cluster", "lib/glasshive/operator/operator.py"),
    "overlay": Term("carrying a pod's packet inside one between nodes (VXLAN)", "bpf/datapath/overlay.bpf.c"),
    "pin": Term("a name in /sys/fs/bpf that keeps a program, map or link alive", "lib/glasshive/bpf/bpffs.py"),
    "program": Term("code that the verifier has checked and the kernel runs at a hook", "lib/glasshive/bpf/program.py"),
    "resolver": Term("who answers the cluster's names on a node", "lib/glasshive/dns/server.py", "CoreDNS"),
    "tcx": Term(
        "the hooks at a device, in and out, where the datapath's programs are attached", "bpf/datapath/pod.bpf.c"
    ),
    "verdict": Term("what becomes of a packet: forwarded, dropped, redirected", "bpf/types/drop.h"),
    "verifier": Term(
        "the part of the kernel that walks every path of a program before it may run", "lib/glasshive/bpf/verifier.py"
    ),
    "world": Term(
        "everything outside the cluster; here a namespace beside the nodes", "lib/glasshive/cluster/embedded/fabric.py"
    ),
}

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
