# %% [markdown]
# # First packet, first pod
#
# You will follow a pod from the moment a node is asked to plug it in (the [[CNI|CNI ADD]] request) to the moment it
# answers a packet, and look at your own kernel at every step. At the end you plug one in yourself, and the kernel's
# state is checked, not your typing.
#
# **25 minutes.** You should know what a Kubernetes pod is.

# %% [markdown]
# ## What it needs
#
# The first cell looks at this machine. If something is missing, it says what, why, and how to mend it; `glasshive
# doctor` in a terminal says the same for all labs.

# %%
import glasshive

lab = glasshive.lab("01")
lab

# %% [markdown]
# ```text
#   world outside
#        |
#   -----+------------ fabric ------------------
#        | eth0            | eth0          | eth0
#     [ node1 ]         [ node2 ]       [ node3 ]      a node: a network namespace, an agent
#        | gh1
#        |                                             a veth pair: one end on the node, one in the pod
#        | eth0
#     [ pod web ]                                      a pod: a network namespace, processes, a cgroup
# ```
#
# ## The request
#
# The kubelet of `node1` makes a network namespace for the pod and then asks: *CNI ADD, this container, this namespace,
# give it an interface called `eth0`*. The [[agent]] answers with addresses. `lab.pod` makes a pod and waits until it is
# ready.

# %%
web = lab.pod("web", node="node1")
print(web.name, "is", web.state, "on", web.node, "with", len(web.addresses), "addresses")

# %% [markdown]
# What the agent wrote down when it answered. An [[endpoint]] is what a node knows about one of its pods. The namespace
# is a file: `/run/netns/...` is a handle that keeps it alive.

# %%
endpoint = lab.endpoint("web")
for name in ("netns", "ifname", "hostInterface", "addresses", "mac", "hostMac", "mtu"):
    print(f"{name}: {endpoint[name]}")

# %% [markdown]
# ## Inside the pod
#
# One interface beside the loopback, with one address of each family. The `/32` and `/128` say: *nobody else is on this
# wire*. Everything goes to the gateway.

# %%
print(lab.exec("web", "ip -brief address show dev eth0"))
print(lab.exec("web", "ip route"))

# %% [markdown]
# The gateway's MAC address is a fixed entry, so that no ARP question is ever asked: it is that of the other end of the
# pod's own wire.

# %%
print(lab.exec("web", "ip neigh show dev eth0"))

# %% [markdown]
# ## The other end
#
# On the node, the pair's other end has the name and the number that `endpoint` told you. Its MAC address is the one the
# pod just called its gateway's.

# %%
device = lab.cluster.node_exec("node1", ["ip", "-brief", "link", "show", "dev", endpoint["hostInterface"]])
print(device.stdout)

# %% [markdown]
# No bridge holds it, and no route leads to the pod alone. What carries its packets is two programs **attached** at that
# device by links: `from_pod` sees what the pod sends, `to_pod` what it is to receive. They are loaded once for each
# node and shared by all its pods ([bpf/datapath/pod.bpf.c](../bpf/datapath/pod.bpf.c)).

# %%
lab.links("web")

# %% [markdown]
# ## What the maps say
#
# **Predict first.** The pod was plugged in at `node1`. What has changed on `node2`?

# %%
prediction = lab.predict(
    "Which map of node2 has a new entry because of this pod on node1?",
    "endpoints: every node knows every pod's device",
    "ipcache: every node knows who has which address",
    "none: node2 learns of it with the first packet",
)
prediction

# %% [markdown]
# Look: how many rows for the new address do both maps have, on both nodes?

# %%
for node in ("node1", "node2"):
    for name, column in (("endpoints", "address"), ("ipcache", "addr")):
        print(node, name, len(lab.rows(node, name, **{column: lab.address("web")})), "rows")

# %%
print(prediction.reveal("ipcache: every node knows who has which address"))

# %% [markdown]
# `endpoints` says which local device has an address: that is nobody else's business. The [[ipcache]] says which
# [[identity]] an address has and behind which node it is, and every node needs that to judge a packet. (On its own node
# the entry says nothing about a node: `::`.)

# %%
lab.map("node2", "ipcache", ["addr", "prefixlen", "node_addr"], addr=lab.address("web"))

# %% [markdown]
# ## The first packet
#
# A second pod on another node, and three pings to the first. Before them, the two have no connection in the
# [[conntrack]] map.

# %%
lab.pod("client", node="node2", image="glasshive/client")
print("connections before:", len(lab.connections("node1", "web", "client")))
print(lab.ping("client", lab.address("web")))
for node in ("node1", "node2"):
    print("connections after, on", node, "-", len(lab.connections(node, "web", "client")))

# %% [markdown]
# One entry on each node, for both directions. The next packet of the connection finds it and needs no other question
# answered. The picture shows who is where:

# %%
lab.topology()

# %% [markdown]
# ## Break it
#
# Programs in the kernel cannot crash it, because the [[verifier]] walks every path through them before they run. Here
# is one that forgets to ask whether a look-up found anything. The extension gives cells a `%%bpf`, which compiles and
# loads C; `--refused` says that we expect a refusal.

# %%
# %load_ext glasshive

# %% [markdown]
# Find the line that the verifier complains about (the `%%bpf` line is line 1).

# %% glasshive={"role": "refused"}
# %%bpf --refused starts
# #include <linux/sched.h>
# struct who { char comm[TASK_COMM_LEN]; };
# BPF_HASH(counts, struct who, u64);
#
# RAW_TRACEPOINT_PROBE(sched_process_exec)
# {
#     struct who who = {};
#     bpf_get_current_comm(&who.comm, sizeof(who.comm));
#     u64 *count = counts.lookup(&who);
#     *count += 1;
#     return 0;
# }

# %% [markdown]
# A look-up gives a pointer *or nothing*, and the verifier calls that `map_value_or_null`. Ask first, and it is content.
# This one counts which programs start on this machine, pods included: to the kernel, a pod's process is a process.

# %%
# %%bpf starts
# #include <linux/sched.h>
# struct who { char comm[TASK_COMM_LEN]; };
# BPF_HASH(counts, struct who, u64);
#
# RAW_TRACEPOINT_PROBE(sched_process_exec)
# {
#     struct who who = {};
#     u64 one = 1;
#     bpf_get_current_comm(&who.comm, sizeof(who.comm));
#     u64 *count = counts.lookup(&who);
#     if (count)
#         *count += 1;
#     else
#         counts.update(&who, &one);
#     return 0;
# }

# %% [markdown]
# A program called `bee` starts twice in a pod, and a program in the kernel counts it:

# %%
lab.exec("client", "cp /bin/true /tmp/bee && /tmp/bee && /tmp/bee")
seen = starts.frame("counts")
print("bee started", int(seen[seen.comm == "bee"].value.sum()), "times")
starts.close()

# %% [markdown]
# ## Your turn
#
# Plug in a third pod. The first cell says which: its name and its node are drawn from the lab's **seed**, so a
# neighbour may have another one. What it must be able to do, and what each of that is worth, stands there too.

# %%
task = lab.task("plug-in")
task

# %% [markdown]
# This panel watches the real state while you work, from outside this notebook: it turns green when all of it is right,
# and red again when something breaks. Tab enters it, the arrow keys move, Enter opens a task.

# %%
lab.panel()

# %% [markdown]
# One line is enough, and `task["pod"]`, `task["node"]` hold what was drawn. `lab.hint("plug-in")` looks at the real
# state and says what is missing; asked again, it says more.

# %% glasshive={"role": "exercise", "id": "plug-in"}
### BEGIN SOLUTION
lab.pod(task["pod"], node=task["node"])
### END SOLUTION
print("pods of this lab:", len(lab.cluster.pods(lab.namespace)))

# %% [markdown]
# Is it where it should be? Does its node's kernel know it? Does it answer, both ways and in both families, and did
# nothing else come of it? A process of its own looks at the cluster, not at your cells.

# %% glasshive={"role": "check", "id": "plug-in"}
lab.check("plug-in")

# %% [markdown]
# ## What Cilium does
#
# The same steps in the same order: its CNI plugin asks the agent, the agent makes the veth pair, allocates addresses,
# loads one set of programs for the endpoint (`cil_from_container`, `cil_to_container`), writes `cilium_lxc` and
# publishes the address as a `CiliumEndpoint`, from which other nodes fill `cilium_ipcache`. Two things differ here:
# our programs are loaded once for a node instead of once for a pod, and other nodes read the Pod object itself.

# %% [markdown]
# ## Tidy up
#
# This removes the lab's pods; their namespaces, devices, links and map entries go with them.

# %% glasshive={"role": "reset"}
lab.reset()
