# %% [markdown]
# # A load balancer in a hundred lines
#
# Behind every service of a cluster there is a program that does four things to a packet: look up, remember, choose,
# rewrite. You write those, a header gives the rest, and at the end real requests go through your program to real pods.
#
# **60 minutes.** You should have done labs 17 and 18, and know what a TCP connection is.

# %% [markdown]
# ## What it needs
#
# A client, three pods to answer it, and a device to sit at: the client's own.

# %%
import glasshive

lab = glasshive.lab("19")
lab

# %% [markdown]
# ```text
#   client -> 192.0.2.10:80       forward       client -> 10.244.2.7:8080
#   ------------------------->  [ egress  ]  --------------------------->  bee2
#   client <- 192.0.2.10:80     [ of eth0 ]     client <- 10.244.2.7:8080
#   <-------------------------  [ ingress ]  <---------------------------
#                                 backward
# ```
#
# Nobody has the address `192.0.2.10`. Your program gives it away: what leaves for it is **rewritten** to a backend, and
# what that backend answers is made to come from `192.0.2.10` again. The client notices nothing.

# %% [markdown]
# Cells of C become programs of this lab by `%%bpf --object NAME`, as in lab 17.

# %%
# %load_ext glasshive

# %% [markdown]
# ## What is given
#
# [labs/balancer.h](../bpf/labs/balancer.h) reads a packet into a `flow` (who talks to whom), declares four tables, and
# has `backward()`. The tables:
#
# | table | from | to |
# |---|---|---|
# | `services` | address and port | which backends: `first`, `count` |
# | `backends` | number | address, port, whether it is alive |
# | `connections` | flow | the number of its backend: this is [[conntrack]] |
# | `answers` | flow of the answer | the address that it must seem to come from |
#
# ## What is yours to write
#
# Two tasks, one program. The first is about single packets:

# %%
lab.task("forward")

# %% [markdown]
# The second is about connections, which are many packets:

# %%
lab.task("keep")

# %% [markdown]
# One cell serves both tasks; go step by step, and ask `lab.check("forward")` in between. `rewrite()` changes one end of
# a packet: two stores, and three checksums' worth of care. TCP's checksum covers the addresses, though they stand in
# the IPv4 header (its *pseudo header*, RFC 9293). `choose()` takes a hash of the flow, so that the same client comes to
# the same backend, and asks who is alive. `forward()` remembers.

# %% glasshive={"role": "exercise", "id": "balance"}
# %%bpf --object balance
# #include "labs/balancer.h"
#
# static void rewrite(struct __sk_buff *skb, enum offset address, enum offset port, struct end *old, struct end *new)
# {
# 	### BEGIN SOLUTION
# 	bpf_l4_csum_replace(skb, TCP_CHECK, old->address, new->address, BPF_F_PSEUDO_HDR | 4);
# 	bpf_l4_csum_replace(skb, TCP_CHECK, old->port, new->port, 2);
# 	bpf_l3_csum_replace(skb, IP_CHECK, old->address, new->address, 4);
# 	bpf_skb_store_bytes(skb, address, &new->address, 4, 0);
# 	bpf_skb_store_bytes(skb, port, &new->port, 2, 0);
# 	### INSTEAD
# 	/* your turn: TCP's checksum, IPv4's checksum, the address, the port */
# 	### END SOLUTION
# }
#
# static struct backend *choose(struct service *service, struct flow *flow, __u32 *number)
# {
# 	### BEGIN SOLUTION
# 	__u32 start = hash_of(flow);
#
# 	for (__u32 i = 0; i < MOST_BACKENDS; i++) {
# 		*number = service->first + (start + i) % service->count;
# 		struct backend *backend = bpf_map_lookup_elem(&backends, number);
#
# 		if (backend && backend->alive)
# 			return backend;
# 	}
# 	### INSTEAD
# 	/* your turn: the number of a living backend of this service, and where it is */
# 	### END SOLUTION
# 	return NULL;
# }
#
# SEC("tc")
# int forward(struct __sk_buff *skb)
# {
# 	struct flow flow = {}, back = {};
# 	struct service *service;
# 	struct backend *backend = NULL;
# 	__u32 number = 0, *known;
#
# 	if (!read_flow(skb, &flow))
# 		return TC_ACT_OK;
# 	service = bpf_map_lookup_elem(&services, &flow.target);
# 	if (!service)
# 		return TC_ACT_OK;
# 	### BEGIN SOLUTION
# 	known = bpf_map_lookup_elem(&connections, &flow);
# 	if (known)
# 		backend = bpf_map_lookup_elem(&backends, known);
# 	if (!backend || !backend->alive) {
# 		backend = choose(service, &flow, &number);
# 		if (!backend)
# 			return TC_ACT_SHOT;
# 		bpf_map_update_elem(&connections, &flow, &number, BPF_ANY);
# 	}
# 	back.source = backend->end;
# 	back.target = flow.source;
# 	bpf_map_update_elem(&answers, &back, &flow.target, BPF_ANY);
# 	rewrite(skb, IP_TARGET, TCP_TARGET, &flow.target, &backend->end);
# 	### INSTEAD
# 	/* your turn: known, or chosen and remembered; whom the answer will come from; rewrite */
# 	### END SOLUTION
# 	return TC_ACT_OK;
# }

# %% [markdown]
# ## Try it on packets
#
# `Balancer` is the control plane: it fills the tables. Three packets of three connections, and where they go. (The
# hash is the same everywhere, and so is the choice.)

# %%
from glasshive.lab.balancer import Balancer
from glasshive.lab.packets import tcp

hive = Balancer(balance)
print(hive.serve("198.51.100.1", 80, [("198.51.100.11", 8080), ("198.51.100.12", 8080), ("198.51.100.13", 8080)]))
for port in (20001, 20002, 20003):
    packet = balance.run(tcp(target="198.51.100.1", source_port=port), "forward").packet
    print(port, "->", packet.target, packet.target_port, "checksums hold:", packet.checksums_hold)

# %% [markdown]
# **Predict first.** A fourth backend is added, and with it the hash leads elsewhere. Where do packets of the three
# connections go that are there already?

# %%
prediction = lab.predict(
    "Where do packets of known connections go when a backend is added?",
    "where they went before: the program remembers",
    "most of them elsewhere: the remainder of a division by four is another one",
    "to the new backend, until it has its share",
)
prediction

# %% [markdown]
# Add one, send three more packets, and look at what `connections` holds. Then the service is withdrawn: it was only for
# trying.

# %%
print(hive.serve("198.51.100.1", 80, [(f"198.51.100.{number}", 8080) for number in (11, 12, 13, 14)]))
for port in (20001, 20002, 20003):
    print(port, "->", balance.run(tcp(target="198.51.100.1", source_port=port), "forward").packet.target)
for row in hive.connections("198.51.100.1", 80):
    print(row)
hive.withdraw("198.51.100.1", 80)
print(prediction.reveal("where they went before: the program remembers"))

# %% [markdown]
# The grader gives your program a service of its own, with addresses that nobody else uses, and takes it away after.
# First: are packets rewritten right, clients spread evenly, and other packets left alone?

# %% glasshive={"role": "check", "id": "forward"}
lab.check("forward")

# %% [markdown]
# Then: does a connection stay where it is when backends come and go, and does nobody talk to one that is gone?

# %% glasshive={"role": "check", "id": "keep"}
lab.check("keep")

# %% [markdown]
# ## Real requests, real pods
#
# The task makes a client and three bees, each on a node of its own. The client's device gets both programs.

# %%
lab.task("live")

# %% [markdown]
# Serve `192.0.2.10:80` from the three bees, and attach: `forward` where the client's packets leave, `backward` where
# the answers arrive.

# %% glasshive={"role": "exercise", "id": "live"}
### BEGIN SOLUTION
print(hive.serve("192.0.2.10", 80, [(lab.address(bee), 8080) for bee in ("bee1", "bee2", "bee3")]))
print(balance.attach("client", "tcx egress", program="forward"))
print(balance.attach("client", "tcx ingress", program="backward"))
### END SOLUTION
lab.ask("client", "192.0.2.10", 80, count=36)

# %% [markdown]
# Each bee tells its name. The same through the grader, with more requests, and with plain ones beside them: what is not
# for the service must go as it always went.

# %% glasshive={"role": "check", "id": "live"}
lab.check("live")

# %% [markdown]
# ## Break it
#
# A bee goes. Nobody tells your program, so it goes on sending every third connection there.

# %%
lab.kubectl("delete", "pod", "bee2", "--now")
asked = lab.ask("client", "192.0.2.10", 80, count=36, wait_s=1.0)
print("all answered:", len(asked.answers) == asked.count, "- answered by:", ", ".join(asked.pods))

# %% [markdown]
# That somebody must notice and say so is the control plane's part. Here you are the control plane.

# %%
print(hive.mark(1, alive=False))
lab.ask("client", "192.0.2.10", 80, count=36)

# %% [markdown]
# ## What Cilium does
#
# The same four steps (`bpf/lib/lb.h`), with the same tables: `cilium_lb4_services_v2`, `cilium_lb4_backends_v3`,
# `cilium_ct4_global`, `cilium_lb4_reverse_nat`. Two things are better there. Its hash is Maglev's, so that also what
# nobody remembers moves little when backends change; and for pods it does not rewrite packets at all, but the address
# in `connect()`, once for each connection.

# %% [markdown]
# ## Tidy up
#
# Programs, links and pods go.

# %% glasshive={"role": "reset"}
lab.reset()
