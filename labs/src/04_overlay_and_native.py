# %% [markdown]
# # Overlay and native routing
#
# A pod's packet must cross the network between nodes. Either that network knows where pods are (native routing), or the
# packet travels inside another one, from node to node (an [[overlay]]). You will see the same packet both ways.
#
# **30 minutes.** You should have seen lab 01.

# %% [markdown]
# ## What it needs
#
# A cluster of its own with an overlay, beside the common one, which routes natively.

# %%
import glasshive

lab = glasshive.lab("04")
lab

# %% [markdown]
# The same lab on the common cluster, to compare with.

# %%
plain = lab.companion()
print("here:", lab.cluster.config.routing, "- there:", plain.cluster.config.routing)

# %% [markdown]
# Two pods on two nodes, on both clusters.

# %%
for one in (lab, plain):
    one.pod("client", node="node1", image="glasshive/client")
    one.pod("web", node="node2")

# %% [markdown]
# ## The same packet, twice
#
# A ping that carries 56 bytes, as it leaves `node1`; a packet socket listens there, as tcpdump would. Natively, what is
# on the wire is the pod's own packet.

# %%
plain.on_the_wire("client", "web")

# %% [markdown]
# In the overlay, the node wraps it: an IP packet between nodes, UDP, VXLAN, and then all that the pod has sent. The
# VXLAN header has room for a number, the VNI, and the datapath writes the sender's [[identity]] there: the other node
# need not look it up.

# %%
lab.on_the_wire("client", "web")

# %% [markdown]
# ## What it costs
#
# 20 bytes of IP, 8 of UDP, 8 of VXLAN and 14 of Ethernet are 50. The wire takes 1500, so pods may send 1450. **Predict
# first.** How many bytes may a ping carry in the overlay, if it must not be fragmented?

# %%
prediction = lab.predict("The largest payload of a ping in the overlay?", "1450", "1430", "1422")
prediction

# %% [markdown]
# The MTU of the pod's device on both clusters, and pings around the limit.

# %%
for one, sizes in ((lab, (1422, 1423)), (plain, (1472, 1473))):
    print(one.cluster.config.routing, "- MTU of the pod:", one.endpoint("client")["mtu"])
    for size in sizes:
        said = one.exec("client", ["ping", "-c", "1", "-W", "1", "-M", "do", "-s", str(size), one.address("web")])
        print("  ", size, "bytes:", "passes" if " 0% packet loss" in said else "does not pass")

# %% [markdown]
# Was it as you said?

# %%
print(prediction.reveal("1422"))

# %% [markdown]
# IP takes 20 bytes of the pod's packet and ICMP 8.
#
# ## Who knows the way
#
# The tunnel's map is the [[ipcache]]: it says behind which node an address is. Both clusters have that row.

# %%
for one in (lab, plain):
    rows = one.rows("node1", "ipcache", addr=one.address("web"))
    nodes = {address: node.name for node in one.cluster.topology().nodes for address in node.addresses}
    print(one.cluster.config.routing, "- web is behind", nodes[rows[0]["node_addr"]])

# %% [markdown]
# The kernel's own routes (the FIB) differ: natively each node's range leads over the wire to that node, while in the
# overlay all ranges lead to the datapath's device, and only programs know more.

# %%
for one in (lab, plain):
    ranges = {node.name: node.pod_cidrs[0] for node in one.cluster.topology().nodes}
    routes = {row["destination"]: row["device"] for row in one.cluster.survey("node1", "routes")}
    print(one.cluster.config.routing, "-", {name: routes[cidr] for name, cidr in sorted(ranges.items())})

# %% [markdown]
# ## Your turn: the largest packet
#
# Other pods, drawn from the lab's seed.

# %%
task = lab.task("largest")
task

# %% [markdown]
# The panel watches what is really so.

# %%
lab.panel()

# %% [markdown]
# Work it out or try it; then write both numbers down.

# %% glasshive={"role": "exercise", "id": "largest"}
### BEGIN SOLUTION
# The MTU less 20 bytes of IP and 8 of ICMP.
made = lab.kubectl("create", "configmap", "answer", "--from-literal=overlay=1422", "--from-literal=native=1472")
print(made)
### END SOLUTION

# %% [markdown]
# The check sends a ping of your size, and one with a byte more.

# %% glasshive={"role": "check", "id": "largest"}
lab.check("largest")

# %% [markdown]
# ## Your turn: a narrow wire
#
# Something large vanishes.

# %%
task = lab.task("narrow")
task

# %% [markdown]
# Compare the devices of the nodes.

# %% glasshive={"role": "exercise", "id": "narrow"}
### BEGIN SOLUTION
# As much as its neighbours.
done = lab.cluster.node_exec(task["node"], "ip link set dev eth0 mtu 1500")
print("status", done.returncode)
### END SOLUTION

# %% [markdown]
# Do large ones pass again, without pods being made to send less?

# %% glasshive={"role": "check", "id": "narrow"}
lab.check("narrow")

# %% [markdown]
# ## What Cilium does
#
# The same choice: `routing-mode` is `tunnel` or `native`, the overlay VXLAN (as here) or Geneve (not here). Its
# `cilium_vxlan` device has no fixed peer either, `cilium_ipcache` names the tunnel's end, the VNI holds the identity,
# and pods' MTU is 50 bytes less. Natively it can leave routes to the network, or write them itself with
# `auto-direct-node-routes`, which is what you saw.

# %% [markdown]
# ## Tidy up
#
# The lab's own cluster goes; from the common one, what this lab has made.

# %% glasshive={"role": "reset"}
lab.reset()
