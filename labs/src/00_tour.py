# %% [markdown]
# # Two minutes through the glass
#
# You will bring two pods up, send a packet from one to the other, and find its traces in the kernel's own tables.
# Then you will see a packet dropped, and why. Run the cells from top to bottom: **Shift-Enter** runs one.
#
# **2 minutes.** Nothing to know before.

# %% [markdown]
# ## The cluster
#
# `glasshive.lab("00")` looks at this machine, finds the cluster that `make lab` has brought up (or brings one up), and
# gives the lab a Kubernetes namespace of its own. A node of this cluster is a network namespace with an
# [[agent]]; so is a pod, with its own processes.

# %%
import glasshive

lab = glasshive.lab("00")
lab

# %% [markdown]
# ## Two pods
#
# A server on `node1` and a client on `node2`. They are ordinary Kubernetes pods: `kubectl get pods -n lab-00` in a
# terminal shows the same two. The picture counts packets while it stands; choose a pod to see its addresses.

# %%
lab.pod("web", node="node1")
lab.pod("client", node="node2", image="glasshive/client")
lab.topology(live=True)

# %% [markdown]
# ## A packet
#
# Three pings from one pod to the other, through two nodes.

# %%
lab.ping("client", lab.address("web"))

# %% [markdown]
# And a question that only a server answers, over HTTP:

# %%
lab.exec("client", ["curl", "-s", "-o", "/dev/null", "-w", "HTTP %{http_code}", f"http://{lab.address('web')}:8080/"])

# %% [markdown]
# ## What the kernel knows about it
#
# No bridge, no iptables: eBPF programs at the pods' devices carried those packets, and they keep what they know in
# **maps**. An [[endpoint]] is a pod as those programs see it. This is the map `endpoints` of `node1`: which address
# belongs to which device; [its entry](../bpf/types/endpoint.h) is a C struct, and Python reads it from the program.

# %%
lab.map("node1", "endpoints", ["address", "ifindex", "mac"], address=lab.address("web"))

# %% [markdown]
# And the connections that the node has seen, its [[conntrack]] map, here those of the two pods. Each stands there
# once, whichever side spoke first; `low` and `high` are its two ends in order. Protocol 1 is ICMP (your pings), 6 is
# TCP (your question over HTTP).

# %%
lab.connections("node1", "web", "client")

# %% [markdown]
# ## A packet that goes nowhere
#
# An address from `node1`'s range that no pod has: what becomes of three packets sent there? `mark_drops` starts
# counting anew.

# %%
lab.mark_drops()
lab.ping("client", lab.free_address("node1"))

# %% [markdown]
# Nobody answered. In many networks that is all one ever learns. Here every drop has a reason, counted by the program
# that dropped the packet:

# %%
lab.drops("no-endpoint")

# %% [markdown]
# The last of them, in words:

# %%
print(lab.last_drop("no-endpoint"))

# %% [markdown]
# ## What Cilium does
#
# The same, at the same places: programs at `tc` hooks, maps such as `cilium_lxc` and `cilium_ct4_global`, and the
# [[drop reason|drop reasons]] that `hubble observe --verdict DROPPED` prints. The numbers of those that Cilium has too
# are the same here.
#
# Next: **01 First packet, first pod** shows how a pod gets its address in the first place.

# %% [markdown]
# ## Tidy up
#
# This removes the lab's pods. The cluster stays up for the next lab.

# %% glasshive={"role": "reset"}
lab.reset()
