# %% [markdown]
# # XDP and tcx
#
# Where in the kernel does a program meet a packet, and what may it do there? You will join two devices by a redirect,
# see one packet pass hook after hook, and drop packets before the kernel has made anything of them.
#
# **35 minutes.** You should have done lab 17: load, attach, pin, and what the [[verifier]] wants to see.

# %% [markdown]
# ## What it needs
#
# Everything happens in three network namespaces that belong to this lab. No device of this machine, of a node or of a
# pod is touched.

# %%
import glasshive

lab = glasshive.lab("18")
lab

# %% [markdown]
# Cells of C become programs of this lab by `%%bpf --object NAME`, as in lab 17.

# %%
# %load_ext glasshive

# %% [markdown]
# ```text
#     left               mid                    right
#    [ eth0 ]-----[ to-left  to-right ]-----[ eth0 ]
#   10.77.0.1       11         12            10.77.0.2       11, 12: the devices' numbers (ifindex)
# ```
#
# `left` and `right` are two machines, `mid` is a box between them: two devices, no address, no route, no bridge. What
# comes in on one of them ends there.

# %%
wire = lab.wire()
wire.send("left", count=3)

# %% [markdown]
# ## Two devices, one redirect
#
# **tcx** is the hook at which a device gives a packet to the kernel's stack (ingress) or takes one from it (egress).
# The packet has its `skb` there, the kernel's own description of it: length, protocol, device. A program that returns
# what `bpf_redirect` returns sends it out of another device instead.

# %%
lab.task("cable")

# %% [markdown]
# One line is missing: which device does the packet leave by?

# %% glasshive={"role": "exercise", "id": "cable"}
# %%bpf --object cable
# #include "labs/lesson.h"
#
# SEC("tc")
# int cable(struct __sk_buff *skb)
# {
# 	### BEGIN SOLUTION
# 	return bpf_redirect(skb->ifindex == 11 ? 12 : 11, 0);
# 	### INSTEAD
# 	return 0; /* your turn */
# 	### END SOLUTION
# }

# %% [markdown]
# Two devices, so two links. Then send again.

# %% glasshive={"role": "exercise", "id": "plug"}
### BEGIN SOLUTION
for place in ("mid/to-left", "mid/to-right"):
    print(cable.attach(place, "tcx ingress"))
### END SOLUTION
print(wire.send("left", count=3))
print(wire.send("right", count=3))

# %% [markdown]
# The grader sends in both directions, and looks at the devices' own counters: nothing doubled, nothing returned.

# %% glasshive={"role": "check", "id": "cable"}
lab.check("cable")

# %% [markdown]
# ## Hook after hook
#
# A device has three places for programs. **XDP** comes first: the driver has received bytes, and nothing else has
# happened. Then the stack makes an `skb`, and tcx ingress sees it; what leaves passes tcx egress. This object holds a
# program for each, and they count together: `order` says who was there as the first, second, third.

# %%
# %%bpf --object hooks
# #include "labs/lesson.h"
#
# struct visit {
# 	__u64 packets, order;
# };
#
# struct {
# 	__uint(type, BPF_MAP_TYPE_ARRAY);
# 	__uint(max_entries, 3);
# 	__type(key, __u32);
# 	__type(value, struct visit);
# } visits SEC(".maps");
#
# __u64 steps;
#
# static void note(__u32 hook)
# {
# 	struct visit *visit = bpf_map_lookup_elem(&visits, &hook);
#
# 	if (!visit)
# 		return;
# 	__sync_fetch_and_add(&visit->packets, 1);
# 	visit->order = __sync_fetch_and_add(&steps, 1) + 1;
# }
#
# SEC("xdp")
# int at_xdp(struct xdp_md *ctx)
# {
# 	note(0);
# 	return XDP_PASS;
# }
#
# SEC("tc")
# int at_ingress(struct __sk_buff *skb)
# {
# 	note(1);
# 	return TC_ACT_OK;
# }
#
# SEC("tc")
# int at_egress(struct __sk_buff *skb)
# {
# 	note(2);
# 	return TC_ACT_OK;
# }

# %% [markdown]
# Each goes to its hook of the same device, `eth0` of `right`.

# %%
for program, hook in (("at_xdp", "xdp"), ("at_ingress", "tcx ingress"), ("at_egress", "tcx egress")):
    print(hooks.attach("right", hook, program=program))

# %% [markdown]
# One packet in, one packet out. (0 is XDP, 1 tcx ingress, 2 tcx egress.)

# %%
print(wire.send("left"), "/", wire.send("right"))
hooks.map("visits")

# %% [markdown]
# What goes out never meets XDP: it is a hook for what comes in. `detach` takes the three away again; they stay loaded,
# and no packet comes to them any more.

# %%
hooks.detach()

# %% [markdown]
# ## Dropped before the stack
#
# **Predict first.** An XDP program on `right` drops a datagram. What do a tcx program, a packet filter and a socket on
# `right` see of it?

# %%
prediction = lab.predict(
    "XDP drops a datagram. Who on the same device has seen it?",
    "tcx ingress has, the socket has not",
    "nobody: there was not even an skb",
    "the socket has, but gets an error",
)
prediction

# %% [markdown]
# The task draws a port, so that your neighbour's gate may be closed elsewhere.

# %%
lab.task("gate")

# %% [markdown]
# XDP has no `skb`: the context is two pointers, and you parse. Which ports are closed stands in a map, so that they can
# be closed and opened while the program runs. The proof and the counting are there; the judgement is yours.

# %% glasshive={"role": "exercise", "id": "gate"}
# %%bpf --object gate
# #include "labs/lesson.h"
#
# struct {
# 	__uint(type, BPF_MAP_TYPE_HASH);
# 	__uint(max_entries, 64);
# 	__type(key, __u16);
# 	__type(value, __u8);
# } closed SEC(".maps");
#
# struct {
# 	__uint(type, BPF_MAP_TYPE_ARRAY);
# 	__uint(max_entries, 5);
# 	__type(key, __u32);
# 	__type(value, __u64);
# } verdicts SEC(".maps");
#
# static int counted(__u32 verdict)
# {
# 	__u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);
#
# 	if (count)
# 		__sync_fetch_and_add(count, 1);
# 	return verdict;
# }
#
# SEC("xdp")
# int gate(struct xdp_md *ctx)
# {
# 	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
# 	struct ethhdr *eth = data;
# 	struct iphdr *ip = data + sizeof(*eth);
# 	struct udphdr *udp = (void *)(ip + 1);
#
# 	if ((void *)(udp + 1) > end || ip->ihl != 5)
# 		return counted(XDP_PASS);
# 	### BEGIN SOLUTION
# 	__u16 port = bpf_ntohs(udp->dest);
#
# 	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_UDP)
# 		return counted(XDP_PASS);
# 	if (bpf_map_lookup_elem(&closed, &port))
# 		return counted(XDP_DROP);
# 	### INSTEAD
# 	/* your turn: drop, and count it, if this is UDP to a port that stands in closed */
# 	### END SOLUTION
# 	return counted(XDP_PASS);
# }

# %% [markdown]
# Close the port that the task names, attach, and try it. (There is a hook `xdp generic` too, for devices whose driver
# knows no XDP: there the program runs behind the driver, on an skb that exists already. It is not for here: what a
# redirect has brought passes generic XDP by.)

# %% glasshive={"role": "exercise", "id": "close"}
port = lab.task("gate")["port"]
### BEGIN SOLUTION
gate.put("closed", port, 1)
print(gate.attach("right", "xdp"))
### END SOLUTION
print(wire.send("left", port=port, count=4))
print(wire.send("left", port=port + 1, count=3))

# %% [markdown]
# The grader compares what arrives, and what your map says, with what it has sent; then it tries frames that only
# resemble those to be dropped.

# %% glasshive={"role": "check", "id": "gate"}
lab.check("gate")

# %% [markdown]
# And the prediction:

# %%
print(prediction.reveal("nobody: there was not even an skb"))

# %% [markdown]
# ## What Cilium does
#
# Its datapath sits at tcx (or tc) on every pod's device and on the node's own (`cil_from_container`,
# `cil_from_netdev`), and delivers by redirect, past the node's stack, as your cable does. At XDP (`bpf_xdp.c`) it
# balances load for services and drops what its prefilter names: there a dropped packet costs least.

# %% [markdown]
# ## Tidy up
#
# Programs, links and the three namespaces go.

# %% glasshive={"role": "reset"}
lab.reset()
