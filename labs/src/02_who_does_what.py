# %% [markdown]
# # Who does what
#
# A cluster is several programs that divide the work. You will take them away, one after the other, say beforehand what
# will break, and look. At the end somebody else has broken the cluster, and you mend it.
#
# **25 minutes.** You should have seen lab 01: a pod, an [[agent]], a map.

# %% [markdown]
# ## What it needs
#
# A cluster of three nodes of its own. Components are stopped here for real: whoever else works on this cluster will
# notice.

# %%
import glasshive

lab = glasshive.lab("02")
lab

# %% [markdown]
# ```text
#   you, kubectl ----> [ control-plane ]  API server: keeps every object; operator: controllers that act on them
#                        |     |     |    all others ask it, and go on with what they know when it is away
#            ------------+     |     +------------
#            |                 |                 |
#     [ node1 ]           [ node2 ]         [ node3 ]      agent and kubelet in one process: start pods, plug them in
#     [ node1-dns ]       [ node2-dns ]     [ node3-dns ]  resolver: answers names for the pods of its node
#        |                   |
#     [ client ]          [ web ]                          pods; between them only programs and maps in the kernel
# ```
#
# ## The roles
#
# Every component is a process, watched by a [[supervisor]] that restarts what dies. `glasshive status` in a terminal
# shows them too, with memory and process numbers. There is no process called [[CNI]]: a CNI plugin is a call,
# *plug this pod in*, and here the agent answers it.

# %%
lab.components("control-plane", "node1", "node1-dns", "node2", "node2-dns")

# %% [markdown]
# A server on `node2`, a client on `node1`, and a Service without an address of its own (a *headless* one), so that
# there is a name to ask for.

# %%
port = {"port": 8080}
lab.run({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
         "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [port]}})  # fmt: skip
lab.pod("web", node="node2")
lab.pod("client", node="node1", image="glasshive/client")
print(lab.kubectl("get", "pods", "-o", "custom-columns=NAME:.metadata.name,NODE:.spec.nodeName"))

# %% [markdown]
# What people want of a cluster, tried for real: `curl` in the client, `kubectl` here. You will run this again and
# again.

# %%
lab.abilities("client", "web")

# %% [markdown]
# ## Without the control plane
#
# API server, scheduler and all controllers, killed at once. **Predict first.**

# %%
prediction = lab.predict(
    "The control plane is dead. What does the client still reach?",
    "nothing: every connection is set up by the control plane",
    "the server by its address, but not by its name",
    "the server, by its address and by its name",
)
prediction

# %% [markdown]
# `lab.stop` kills it and tells the supervisor to leave it so (`glasshive stop --kill control-plane` does the same).

# %%
print(lab.stop("control-plane"))
lab.abilities("client", "web")

# %% [markdown]
# Was it as you said?

# %%
print(prediction.reveal("the server, by its address and by its name"))

# %% [markdown]
# Packets are carried by programs in the kernel, which ask nobody. The [[resolver]] keeps the last names it was told, so
# it answers too, from memory. What is gone is *change*: nobody takes an order, and nobody acts on one.

# %%
print(lab.kubectl("run", "late", "--image=nginx"))

# %% [markdown]
# Start it again. Was anything lost? Every object was written to disk before it was confirmed.

# %%
print(lab.start("control-plane"))
print(lab.kubectl("get", "pods,services", "-o", "name"))
print(lab.kubectl("run", "late", "--image=nginx"))
print(lab.cluster.wait("pod", "late", namespace=lab.namespace)[0]["metadata"]["name"], "is ready")

# %% [markdown]
# And if nobody keeps it down? Then the supervisor starts a new one before most people would notice. In a real cluster
# the kubelet of the control plane's node does that, or systemd.

# %%
print(lab.crash("control-plane"))
lab.components("control-plane")

# %% [markdown]
# One restart since this lab was opened: that you had stopped it on purpose does not count as one.
#
# ## Without the agent
#
# The agent of `node2` made the device of `web`, attached programs to it and filled the maps. Now it dies.
# **Predict first.**

# %%
prediction = lab.predict(
    "The agent of node2 is dead. What becomes of web, which runs on node2?",
    "it is cut off: its programs went with the agent",
    "it goes on being reached, but no new pod starts on node2",
    "it is moved to another node at once",
)
prediction

# %% [markdown]
# A new pod for `node2` is asked for, too. The API server takes the order: it is only written down.

# %%
before = lab.links("web")
print(lab.stop("node2"))
print("late2 is", lab.pod("late2", node="node2", wait_s=0).state)
lab.abilities("client", "web")

# %% [markdown]
# Was it as you said?

# %%
print(prediction.reveal("it goes on being reached, but no new pod starts on node2"))

# %% [markdown]
# Programs and maps are **pinned**: the file system at `/sys/fs/bpf` holds them, not the process that loaded them. Four
# seconds on, nobody has plugged `late2` in. (After 40 seconds without a sign of life the [[operator]] calls the node
# `NotReady`, after five minutes it would give up the node's pods.)

# %%
print(lab.ping("client", lab.address("web"), count=20))
print("late2 is", lab.status("late2").state, "and has", len(lab.status("late2").addresses), "addresses")

# %% [markdown]
# The agent comes back, takes its pins over (it updates the links in place, so that not one packet goes without a
# program) and finds the order waiting.

# %%
print(lab.start("node2"))
print("late2 is", lab.pod("late2", node="node2").state, "and has", len(lab.status("late2").addresses), "addresses")
print("the same programs at web's device:", lab.links("web") == before)

# %% [markdown]
# ## Without the resolver
#
# Names of the client's node are answered by `node1-dns`. Before you run this: which of the three lines will change?

# %%
print(lab.stop("node1-dns"))
lab.abilities("client", "web")

# %% [markdown]
# Only the name. Only on this node, too: every node has a resolver of its own. And when it dies without anybody keeping
# it down, it is back so soon that the next question finds it:

# %%
print(lab.start("node1-dns"))
print(lab.crash("node1-dns"))
lab.abilities("client", "web")

# %% [markdown]
# ## Your turn
#
# A night shift has left you this. `lab.hint("night-shift")` looks at the real state and helps; asked again, it says
# more.

# %%
task = lab.task("night-shift")
task

# %% [markdown]
# The panel watches what is really so; look at it while your cell runs.

# %%
lab.panel()

# %% [markdown]
# Who starts pods on a node, and who answers names there?

# %% glasshive={"role": "exercise", "id": "night-shift"}
### BEGIN SOLUTION
# The agent starts the pod and plugs it in; the resolver answers what its probe asks.
print(lab.start(task["node"], task["node"] + "-dns"))
### END SOLUTION

# %% [markdown]
# Does every component run again, is the patient well, and does everybody else still get what they got before?

# %% glasshive={"role": "check", "id": "night-shift"}
lab.check("night-shift")

# %% [markdown]
# ## What Cilium does
#
# The same division: `cilium-agent` on every node (a DaemonSet), `cilium-operator` once per cluster for what needs doing
# once, the CNI plugin a small program that the kubelet calls and that only asks the agent. Stop the agents and traffic
# goes on, from pinned programs and maps; stop the operator and no new address ranges, [[identity]] clean-up or
# LoadBalancer addresses come; stop Hubble's relay and only the view is gone. Two things differ here: scheduler and
# controllers share a process with the API server, and cluster names are answered on each pod's own node instead of by
# CoreDNS pods behind a Service. Stopping an agent also stops what the kubelet does, because here they are one process.

# %% [markdown]
# ## Tidy up
#
# This starts whatever is still stopped, and removes the lab's pods.

# %% glasshive={"role": "reset"}
lab.reset()
