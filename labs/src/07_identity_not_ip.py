# %% [markdown]
# # Identity, not IP
#
# A pod's address says where it is, and the next pod may have it tomorrow. Its labels say *who* it is. You will see the
# datapath turn labels into an [[identity]], a number that stands for a set of labels, and judge packets by that number;
# then change labels and addresses, and see which of the two a policy minds.
#
# **35 minutes.** You should have seen lab 01: the [[endpoint]], the [[ipcache]].

# %% [markdown]
# ## What it needs
#
# The first cell looks at this machine. If something is missing, it says what, why, and how to mend it.

# %%
import glasshive

lab = glasshive.lab("07")
lab

# %% [markdown]
# ```text
#   labels      app=bee                what you write
#      |
#   identity    a number               the same for the same labels, on every node
#      |
#   ipcache     address -> number      how a node knows who has sent a packet
#      |
#   policy      number -> verdict      what a packet is judged by
# ```
#
# ## Who shares one
#
# Four pods on three nodes. **Predict first.**

# %%
prediction = lab.predict(
    "web has app=web, wasp has app=wasp, bee-1 and bee-2 have app=bee. How many identities are that?",
    "four: each pod is somebody",
    "three: bee-1 and bee-2 share one",
    "three: one for each node",
)
prediction

# %%
lab.pod("web", node="node1")
lab.pod("bee-1", node="node2", labels={"app": "bee"})
lab.pod("bee-2", node="node3", labels={"app": "bee"})
lab.pod("wasp", node="node2")
lab.identities(live=True)

# %% [markdown]
# (The picture stays live: watch it while you go on.) Was it as you said? The two bees are on two nodes, and no node
# asked the other. The [[agent]] that needs a number first writes it down as an object of the cluster, a
# `CiliumIdentity`; the next one finds it there. Beside your labels, the set has some that the cluster adds: an
# `app=bee` of another namespace is somebody else.

# %%
print(prediction.reveal("three: bee-1 and bee-2 share one"))
print("the same:", lab.identity("bee-1") == lab.identity("bee-2"))
for label in lab.policy_of("bee-1")["labels"]:
    print(label)

# %% [markdown]
# Not every label counts. Those that change with each rollout (`pod-template-hash` and its kind) are left out, or every
# rollout would make new identities. Any other label makes another set, and so another identity.

# %%
lab.pod("bee-3", node="node1", labels={"app": "bee", "pod-template-hash": "5d9c"})
lab.pod("bee-4", node="node1", labels={"app": "bee", "version": "2"})
for name in ("bee-3", "bee-4"):
    print(name, "has the identity of bee-1:", lab.identity(name) == lab.identity("bee-1"))

# %% [markdown]
# ## How a node knows
#
# A packet carries addresses and no labels. So every node keeps the ipcache, a map of addresses, and looks the sender up
# there; the longest prefix that fits decides. Here is what `node3` takes some addresses for: pods, nodes, the API
# server's and the [[resolver]]'s services, and an address outside.

# %%
lab.known_as("node3", "bee-1", "wasp", "node3", "node1", "10.96.0.1", "10.96.0.10", "192.0.2.1")

# %% [markdown]
# What is no pod has a **reserved** identity, with a number that is the same on every cluster: 1 is a node for itself, 6
# is any other node, 7 the API server, 9 and 10 the world over IPv4 and IPv6 (2, where there is only one family). Your
# own sets of labels get numbers from 256 on; which one, nobody should care.
#
# ## A policy minds the number
#
# This policy lets bees in to `web`, at one port. What it says of others, lab 08 is about: they stay out.

# %%
print(
    *lab.policy("""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: bees}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: bee}}]
    toPorts: [{ports: [{port: "8080", protocol: TCP}]}]
""")
)

# %% [markdown]
# **Predict first.** Five pods, four of them with `app=bee`. How many rows of the kernel's map let somebody in at port
# 8080?

# %%
prediction = lab.predict(
    "How many rows of web's policy allow 8080/TCP?",
    "four: one for each pod with app=bee",
    "eight: one for each of their addresses",
    "two: one for each identity with app=bee",
)
prediction

# %% [markdown]
# The rows that judge what comes to `web`. The view is live: run the cell after it, and see the rows light up that
# decide the packets.

# %%
lab.policy_view("web", live=True)

# %%
print(prediction.reveal("two: one for each identity with app=bee"))
print(lab.reach([(name, "web") for name in ("bee-1", "bee-2", "bee-3", "bee-4", "wasp")]))
lab.policy_view("web")

# %% [markdown]
# In the rows after the requests, a star is where packets were decided. Three bees came in by one row, `bee-4` by the
# row of its own identity, and `wasp` met the last row, *anybody else*. (`host` is there because a node may always reach
# its own pods, or it could not probe them.)
#
# ## Another address, the same row
#
# `bee-2` is deleted and made anew. **What changes:** its address? Its identity? The rows of `web`?

# %%
before = lab.address("bee-2"), lab.identity("bee-2"), lab.policy_rows("web", ["peer", "port", "verdict"])
lab.remove("bee-2")
lab.pod("bee-2", node="node3", labels={"app": "bee"})
print("address as before:", lab.address("bee-2") == before[0])
print("identity as before:", lab.identity("bee-2") == before[1])
print("rows as before:", lab.policy_rows("web", ["peer", "port", "verdict"]) == before[2])
lab.reach([("bee-2", "web")])

# %% [markdown]
# A list of addresses would have to be changed on every node that knows it, with every pod that comes or goes. Here only
# the ipcache has changed, and the thousandth bee writes no row.
#
# ## Another label, the same address
#
# Now the other way round: `wasp` keeps its address and is given a bee's label. Mind the bubbles above.

# %%
print(lab.relabel("wasp", app="bee"))
print("wasp has the identity of bee-1:", lab.identity("wasp") == lab.identity("bee-1"))
lab.reach([("wasp", "web")])

# %% [markdown]
# No policy was changed and no pod restarted. Whoever may change labels decides who somebody is: in Kubernetes, the
# right to change pods is the right to let them in. Back to what it was:

# %%
print(lab.relabel("wasp", app="wasp"))
lab.known_as("node1", "wasp", "bee-1")

# %% [markdown]
# ## Break it
#
# If an address decides who you are, may you take somebody else's? `wasp` has the right to write packets byte by byte,
# as pods do that may ping, and sends `web` one that says it is from `bee-1`. **What do you expect?**

# %%
lab.mark_drops()
print(lab.forge("wasp", "bee-1", "web"))
print(lab.last_drop("invalid-source-ip"))

# %% [markdown]
# The program at the pod's own device knows which addresses the pod was given, and lets no other leave: the
# [[drop reason]] says so. Without that check, identity would be worth nothing.
#
# ## Your turn: one more of the same
#
# Names, nodes and labels are drawn from the lab's **seed**.

# %%
task = lab.task("share")
task

# %% [markdown]
# The panel watches what is really so, from outside this notebook.

# %%
lab.panel()

# %% [markdown]
# What makes two pods the same? `lab.identities()` shows who has which labels; `lab.hint("share")` helps.

# %% glasshive={"role": "exercise", "id": "share"}
### BEGIN SOLUTION
# The same labels give the same identity, whatever the pod is called.
made = lab.pod(task["pod"], node=task["node"], labels={"app": task["crew"], "shift": task["shift"]})
print("ready:", made.ready)
### END SOLUTION

# %% [markdown]
# Does every node take it for one of them? Is it let in, and nobody else?

# %% glasshive={"role": "check", "id": "share"}
lab.check("share")

# %% [markdown]
# ## Your turn: somebody who runs already
#
# It must not be restarted.

# %%
task = lab.task("let-in")
task

# %% [markdown]
# `print(lab.why(task["pod"], task["server"], "8080/TCP"))` says what the door asks for.

# %% glasshive={"role": "exercise", "id": "let-in"}
### BEGIN SOLUTION
# A label changes who it is; the row for that identity is there.
print(lab.relabel(task["pod"], **{"pass": task["pass"]}))
### END SOLUTION

# %% [markdown]
# Is it in, is it still the pod that it was, and is its team still out?

# %% glasshive={"role": "check", "id": "let-in"}
lab.check("let-in")

# %% [markdown]
# ## Your turn: what a rollout broke
#
# Something that worked yesterday is refused today, and nobody has touched the policy.

# %%
task = lab.task("rollout")
task

# %% [markdown]
# Which labels do those have that are refused, and which does the policy ask for?

# %% glasshive={"role": "exercise", "id": "rollout"}
### BEGIN SOLUTION
# Ask who somebody is, and not which version: the next rollout changes nothing then.
path = "/spec/ingress/0/fromEndpoints/0/matchLabels/version"
patch = f'[{{"op": "remove", "path": "{path}"}}]'
name = f"{task['server']}-door"
print(lab.kubectl("patch", "ciliumnetworkpolicy", name, "--type=json", f"--patch={patch}"))
### END SOLUTION

# %% [markdown]
# All of the crew, nobody else, nothing but port 8080, and no version in the rule.

# %% glasshive={"role": "check", "id": "rollout"}
lab.check("rollout")

# %% [markdown]
# ## What Cilium does
#
# The same names: `CiliumIdentity` objects hold the sets of labels, `CiliumEndpoint` objects say which pod has which,
# and `cilium_ipcache` is the map. `cilium-dbg identity list`, `ip list` and `bpf policy get` show what you saw; here it
# is `glasshive identity list` and `glasshive bpf ipcache list`. Which labels count is set by `--labels`: in large
# clusters one leaves most of them out, since every set costs a number (65,280 there are) and a row in each policy that
# means it. One thing differs: Cilium waits some seconds after a change of labels before it takes up the new identity;
# here it is taken up at once.

# %% [markdown]
# ## Tidy up
#
# This removes the lab's pods and its policies; the identities that nobody has any more are collected later.

# %% glasshive={"role": "reset"}
lab.reset()
