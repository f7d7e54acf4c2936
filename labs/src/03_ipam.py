# %% [markdown]
# # Who gives a pod its address
#
# Addresses of pods are handed out twice: the cluster cuts a pool into blocks, one for each node, and a node hands out
# the addresses of its block. You will follow an address all the way and back, then run out of them on purpose, and
# make room.
#
# **30 minutes.** You should have seen lab 01: a pod, an [[agent]], the [[CNI|CNI ADD]] request.

# %% [markdown]
# ## What it needs
#
# A cluster of its own, whose pools are so small that you can empty a node's block by hand. The first cell brings it up
# beside the common one, and the last cell takes it down.

# %%
import glasshive

lab = glasshive.lab("03")
lab

# %% [markdown]
# ## From the pool to the block
#
# [[IPAM]] is the question of who gets which address. The cluster has one pool for each family, and a length: that of
# the block each node gets.

# %%
config = lab.cluster.config
for family, pool in zip(config.ip_families, config.pod_cidrs, strict=True):
    print(f"{family}: pool {pool}, blocks of /{config.node_prefix_lengths[family]}")

# %% [markdown]
# ```text
#   10.244.0.0/26                                 the cluster's pool: 64 addresses, eight blocks of eight
#     |                                           the operator cuts off a block when a node appears
#     +-- 10.244.0.0/29  --> Node.spec.podCIDRs   the block of one node
#     |     .0 network   .1 router   .7 broadcast
#     |     .2 .3 .4 .5 .6                        the agent gives these to pods: one at each CNI ADD
#     +-- 10.244.0.8/29  --> the next node
# ```
#
# The [[operator]] gives out blocks: it is the only one of its kind, so no two nodes get the same one. What it has given
# stands in the Node object and survives its restart. Which node got which block depends on who asked first.

# %%
print(lab.kubectl("get", "nodes", "-o", "custom-columns=NODE:.metadata.name,BLOCKS:.spec.podCIDRs"))

# %% [markdown]
# ## From the block to the pod
#
# Every node's blocks as a grid, counted from the start of each: `+2` is two above the block's first address. The first
# usable one is the node's own door to its pods, the **router**. IPv4 keeps the last one for broadcasts, IPv6 has none.

# %%
lab.addresses()

# %% [markdown]
# The router's address sits at a device of the node that leads nowhere, and the kernel uses it as the source when it
# speaks to pods itself. All blocks are in every node's routes: here through the other nodes.

# %%
from ipaddress import ip_network

blocks = {one.name: ip_network(one.pod_cidrs[0]) for one in lab.cluster.topology().nodes}
held = lab.cluster.node_exec("node1", "ip -o -4 address show dev gh_host").stdout
print("the router's address is at gh_host:", f"{blocks['node1'][1]}/32" in held)
routes = {one["destination"]: one for one in lab.cluster.survey("node1", "routes")}
for node in ("node1", "node2", "node3"):
    print(node, "by way of", routes[str(blocks[node])]["device"])

# %% [markdown]
# Three pods. Nobody asks the operator now: the agent of `node1` takes the next address of its block, in both families,
# while it answers CNI ADD.

# %%
for name in ("one", "two", "three"):
    lab.pod(name, node="node1")
lab.addresses()

# %% [markdown]
# **Predict first.** `node2` has no pod yet. A pod is made there and deleted, and then another one is made. Which
# address does the second one get?

# %%
prediction = lab.predict(
    "The first pod on node2 had +2, and is gone. What does the next one get?",
    "+2: it is free again, and it is the first",
    "+3: the one that was free longest",
    "any: addresses are drawn by lot",
)
prediction

# %%
lab.pod("first", node="node2")
print(lab.remove("first"))
lab.pod("second", node="node2")
lab.addresses()

# %% [markdown]
# Was it as you said?

# %%
print(prediction.reveal("+3: the one that was free longest"))

# %% [markdown]
# An address rests before somebody else gets it. Others still have connections to it in their tables, and what belongs
# to the old pod must not reach the new one. So those that were never used come first, then those freed longest ago; and
# before one is given again, the agent has every entry of it removed from [[conntrack]].
#
# ## A full node
#
# Two more on `node1`, and its block is empty. Now a sixth.

# %%
for name in ("four", "five"):
    lab.pod(name, node="node1")
lab.pod("six", node="node1", wait_s=0)
print(lab.warning("six"))
print("six is ready:", lab.status("six").ready, "- it has", len(lab.status("six").addresses), "addresses")

# %% [markdown]
# The scheduler did not see it coming: it counts pods and processors, and here the node itself was named. The order
# stands, the kubelet tries again from time to time, and each time CNI ADD fails for the same reason. Look at the grid:
# IPv6 has one address left (it needs no broadcast). It is of no use, since a pod gets one of each family or none.

# %%
lab.addresses()

# %% [markdown]
# What the agent says about itself:

# %%
status = lab.cluster.backend.node_request("node1", "GET", "/v1/status")
print(status["endpoints"], "endpoints, room for", status["podCapacity"])

# %% [markdown]
# **Predict first.** `two` is deleted. Which addresses does `six` get?

# %%
prediction = lab.predict(
    "two, which had +3 and +3, goes. What does six get?",
    "+3 and +3: those of two",
    "+3 and +7: IPv4 has no other, IPv6 has one that was never used",
    "none: addresses are not used again",
)
prediction

# %%
print(lab.remove("two"))
print("six is ready:", lab.pod("six", node="node1").ready)
lab.addresses()

# %% [markdown]
# Was it as you said?

# %%
print(prediction.reveal("+3 and +7: IPv4 has no other, IPv6 has one that was never used"))

# %% [markdown]
# With nothing else left, the address of `two` was taken out of its rest early, and cleaned first. It works, in both
# families:

# %%
for family in ("ipv4", "ipv6"):
    print(lab.ping("one", lab.address("six", family)))

# %% [markdown]
# Other nodes know it at once: an address in the [[ipcache]] says who has it now, not who had it. Then we tidy up, as
# the tasks need the room.

# %%
print(len(lab.rows("node2", "ipcache", addr=lab.address("six"))), "row for six in the ipcache of node2")
print(lab.remove("one", "three", "four", "five", "six", "second"))

# %% [markdown]
# ## Your turn: make room
#
# A pod waits. The names, and the node, are drawn from the lab's seed.

# %%
task = lab.task("make-room")
task

# %% [markdown]
# The panel watches what is really so.

# %%
lab.panel()

# %% [markdown]
# Who is on that node, and who may go? `print(lab.kubectl("get", "pods", "-L", "keep", "-o", "wide"))`

# %% glasshive={"role": "exercise", "id": "make-room"}
### BEGIN SOLUTION
# Nobody needs this one: its address is free, and the pod that waits gets it at the next try.
print(lab.remove(task["spare"][0]))
### END SOLUTION

# %% [markdown]
# Is the pod ready where it was asked for, and is everybody there who was to stay?

# %% glasshive={"role": "check", "id": "make-room"}
lab.check("make-room")

# %% [markdown]
# ## Your turn: spread
#
# More replicas than addresses. Their number is not yours to change.

# %%
task = lab.task("spread")
task

# %% [markdown]
# Where may they run, and who decided that? Mind that the scheduler does not know which node has addresses left, and
# that the task before has filled one.

# %% glasshive={"role": "exercise", "id": "spread"}
### BEGIN SOLUTION
# Any of two nodes will do: a node affinity instead of the selector.
term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [task["node"], task["other"]]}
required = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
spec = lab.cluster.get("deployment", task["name"], lab.namespace)["spec"]
spec["template"]["spec"] |= {"nodeSelector": {}, "affinity": affinity}
made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": task["name"]}, "spec": spec}
print(lab.run(made))
### END SOLUTION

# %% [markdown]
# All of them are to be ready, and to have addresses of the node that each is on.

# %% glasshive={"role": "check", "id": "spread"}
lab.check("spread")

# %% [markdown]
# ## What Cilium does
#
# What you saw is Cilium's default, *cluster-pool*: its operator cuts blocks for each `CiliumNode`
# (`spec.ipam.podCIDRs`), its agent gives out addresses, and the router is the address of the device `cilium_host`. Two
# other modes are not built here. *Kubernetes host-scope* takes the block from the Node object (`spec.podCIDRs`), cut
# by Kubernetes' own controller. *Multi-pool* has several pools by name, from which a node asks for more blocks as it
# needs them, and a pod's annotation or namespace says which pool it gets its address from: a full block is then not the
# end. Here the block stands in the Node object, as with host-scope, but our own operator cuts it.

# %% [markdown]
# ## Tidy up
#
# The lab's own cluster goes, and all that is in it.

# %% glasshive={"role": "reset"}
lab.reset()
