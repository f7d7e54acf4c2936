# %% [markdown]
# # Hello, verifier
#
# You will write programs that run inside the kernel, and meet the one who decides whether they may: the [[verifier]].
# Three programs here are refused. You mend them, and they are graded by what they do with packets. The fourth counts
# packets that really arrive at a pod.
#
# **40 minutes.** You should be able to read C, and know what a pointer is.

# %% [markdown]
# ## What it needs
#
# The first cell looks at this machine, finds or brings up its cluster, and says what is missing.

# %%
import glasshive

lab = glasshive.lab("17")
lab

# %% [markdown]
# ```text
#   this cell's C --clang--> object --load--> [ verifier ] --yes--> program, maps   pinned, by name
#                                                  |                    |
#                                                  no: why, where       +-- run: a packet from this notebook
#                                                                       +-- attach: packets of a device
# ```
#
# The extension gives cells a `%%bpf`. With `--object NAME` a cell is a whole C file, made the way real datapaths are
# made: clang compiles it, libbpf loads it, and it is **pinned** under its name, so that it outlives this notebook. It
# is loaded with two capabilities only (`CAP_BPF`, `CAP_NET_ADMIN`): that is the strictest verifier there is.

# %%
# %load_ext glasshive

# %% [markdown]
# ## The smallest program
#
# A `tc` program gets a packet's context and returns a verdict: `TC_ACT_OK` lets it pass, `TC_ACT_SHOT` drops it.
# [labs/lesson.h](../bpf/labs/lesson.h) includes the kernel's types and libbpf's helpers, and names a licence.

# %%
# %%bpf --object hello
# #include "labs/lesson.h"
#
# SEC("tc")
# int hello(struct __sk_buff *skb)
# {
# 	return skb->len > 100 ? TC_ACT_SHOT : TC_ACT_OK;
# }

# %% [markdown]
# It is loaded, and attached nowhere: no packet of this machine comes near it. But the kernel can run it on a packet
# that we hand in (`BPF_PROG_TEST_RUN`), and tell the verdict. All your programs are graded that way.

# %%
from glasshive.lab.packets import udp

for packet in (udp(b"small"), udp(b"x" * 200)):
    print(len(packet), "bytes:", hello.run(packet))

# %% [markdown]
# ## What the verifier does
#
# It walks every path through the program before it ever runs, and keeps for each instruction what it knows about each
# register: a number and its limits, a pointer and how far it may reach. Here is the walk, instruction by instruction,
# with what was known there. (What it looks like depends on compiler and kernel.)

# %% glasshive={"role": "view", "id": "walk"}
# NBVAL_IGNORE_OUTPUT
print(hello.walk())

# %% [markdown]
# ## A pointer into the packet
#
# **Predict first.** The next program reads the `ttl` field right away. Packets are always longer than 22 bytes, or
# aren't they?

# %%
prediction = lab.predict(
    "What does the verifier say to a read at byte 22 of a packet?",
    "Fine: every IPv4 packet has a byte 22",
    "Refused: nothing in the program shows that this packet has one",
    "Fine, and a short packet would be caught when it comes",
)
prediction

# %%
task = lab.task("ttl")
task

# %% [markdown]
# Run the program as it is first, and read the complaint: which register, how far it may reach (`r=0`), which line. (The
# `%%bpf` line is line 1.) Then mend it: two lines are enough.

# %% glasshive={"role": "exercise", "id": "ttl"}
# %%bpf --object ttl
# #include "labs/lesson.h"
#
# SEC("tc")
# int ttl(struct __sk_buff *skb)
# {
# 	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
# 	struct ethhdr *eth = data;
# 	struct iphdr *ip = data + sizeof(*eth);
#
# 	### BEGIN SOLUTION
# 	if ((void *)(ip + 1) > end)
# 		return TC_ACT_OK;
# 	### INSTEAD
# 	/* your turn: the proof that the packet has an Ethernet and an IPv4 header */
# 	### END SOLUTION
# 	if (eth->h_proto == bpf_htons(ETH_P_IP) && ip->ttl < 10)
# 		return TC_ACT_SHOT;
# 	return TC_ACT_OK;
# }

# %% [markdown]
# The grader finds the program by its pin and runs packets through it; it does not read what you wrote.
# `lab.hint("ttl")` looks at the state that your program is really in, and says more each time you ask for another tier.

# %% glasshive={"role": "check", "id": "ttl"}
lab.check("ttl")

# %% [markdown]
# There is no check while it runs, and no exception to be caught: the proof is made once, before. That is why such a
# program can be as quick as the kernel's own code.

# %%
print(prediction.reveal("Refused: nothing in the program shows that this packet has one"))

# %% [markdown]
# ## A loop with an end
#
# A program that never returns would stop the machine's network. The verifier follows a loop round by round, and gives
# up when it sees no end. Here the packet itself says how far to go on, and it may say 0.

# %%
lab.task("smoke")

# %% [markdown]
# Say how many rounds there are at most; the rest of the loop is right.

# %% glasshive={"role": "exercise", "id": "smoke"}
# %%bpf --object smoke
# #include "labs/lesson.h"
#
# struct item {
# 	__u8 type, length;
# };
#
# SEC("tc")
# int smoke(struct __sk_buff *skb)
# {
# 	__u32 at = ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr);
# 	struct item item;
#
# 	### BEGIN SOLUTION
# 	for (int i = 0; i < 16; i++) {
# 	### INSTEAD
# 	for (;;) {
# 	### END SOLUTION
# 		if (bpf_skb_load_bytes(skb, at, &item, sizeof(item)))
# 			break;
# 		if (item.type == 7)
# 			return TC_ACT_SHOT;
# 		at += item.length;
# 	}
# 	return TC_ACT_OK;
# }

# %% [markdown]
# Sixteen rounds are enough for the grader's packets, and four are not.

# %% glasshive={"role": "check", "id": "smoke"}
lab.check("smoke")

# %% [markdown]
# ## A key without holes
#
# A **map** is a table that programs and people share. A hash map's key is compared byte by byte, and this one has a
# byte that no field covers: what stood on the kernel's stack before would become part of the key, and could be read by
# anyone who may read the map.

# %%
lab.task("visits")

# %% [markdown]
# Read the complaint of the program as it is: the `+1` behind the offset is the second byte of the key.

# %% glasshive={"role": "exercise", "id": "visits"}
# %%bpf --object visits
# #include "labs/lesson.h"
#
# struct key {
# 	__u8 protocol;
# 	__be16 port;
# };
#
# struct {
# 	__uint(type, BPF_MAP_TYPE_HASH);
# 	__uint(max_entries, 1024);
# 	__type(key, struct key);
# 	__type(value, __u64);
# } seen SEC(".maps");
#
# SEC("tc")
# int visits(struct __sk_buff *skb)
# {
# 	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
# 	struct iphdr *ip = data + ETH_HLEN;
# 	struct udphdr *udp = (void *)(ip + 1); // TCP has its ports in the same place
# 	__u64 one = 1, *count;
# 	### BEGIN SOLUTION
# 	struct key key = {};
# 	### INSTEAD
# 	struct key key;
# 	### END SOLUTION
#
# 	if ((void *)(udp + 1) > end || skb->protocol != bpf_htons(ETH_P_IP))
# 		return TC_ACT_OK;
# 	if (ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_TCP)
# 		return TC_ACT_OK;
# 	key.protocol = ip->protocol;
# 	key.port = udp->dest;
# 	count = bpf_map_lookup_elem(&seen, &key);
# 	if (count)
# 		__sync_fetch_and_add(count, 1);
# 	else
# 		bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
# 	return TC_ACT_OK; // counted
# }

# %% [markdown]
# Packets of two protocols and two ports go through it now, some of them several times.

# %% glasshive={"role": "check", "id": "visits"}
lab.check("visits")

# %% [markdown]
# ## Tail calls
#
# A program may hand over to another and never come back: a [[tail call]] through a map of programs. A datapath is cut
# into pieces that way, each small enough to be verified, and one can be exchanged while packets pass. Number 1 of this
# map holds a program; number 0 holds none, and then the call simply does not happen.

# %%
# %%bpf --object chain
# #include "labs/lesson.h"
#
# int long_one(struct __sk_buff *skb);
#
# struct {
# 	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
# 	__uint(max_entries, 2);
# 	__uint(key_size, sizeof(__u32));
# 	__array(values, int(void *));
# } next SEC(".maps") = { .values = { [1] = (void *)&long_one } };
#
# SEC("tc")
# int long_one(struct __sk_buff *skb)
# {
# 	return TC_ACT_SHOT;
# }
#
# SEC("tc")
# int chain(struct __sk_buff *skb)
# {
# 	bpf_tail_call(skb, &next, skb->len > 100);
# 	return TC_ACT_OK; // only who was not called away comes here
# }

# %% [markdown]
# The same two packets as above, and the same verdicts: but one of them was spoken by another program.

# %%
for packet in (udp(b"small"), udp(b"x" * 200)):
    print(len(packet), "bytes:", chain.run(packet, "chain"))

# %% [markdown]
# ## Packets that really arrive
#
# Now a program that is **attached**. The task makes two pods; yours is to count what reaches one of them.

# %%
lab.task("count")

# %% [markdown]
# The table and the proof are there; look the counter up, ask whether there is one, add to it.

# %% glasshive={"role": "exercise", "id": "count"}
# %%bpf --object count
# #include "labs/lesson.h"
#
# struct {
# 	__uint(type, BPF_MAP_TYPE_ARRAY);
# 	__uint(max_entries, 256);
# 	__type(key, __u32);
# 	__type(value, __u64);
# } hits SEC(".maps");
#
# SEC("tc")
# int count(struct __sk_buff *skb)
# {
# 	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
# 	struct iphdr *ip = data + ETH_HLEN;
#
# 	if ((void *)(ip + 1) > end || skb->protocol != bpf_htons(ETH_P_IP))
# 		return TC_ACT_OK;
# 	__u32 protocol = ip->protocol;
# 	### BEGIN SOLUTION
# 	__u64 *count = bpf_map_lookup_elem(&hits, &protocol);
#
# 	if (count)
# 		__sync_fetch_and_add(count, 1);
# 	### INSTEAD
# 	/* your turn: one more in hits, at the number of the protocol */
# 	### END SOLUTION
# 	return TC_ACT_OK; // counted
# }

# %% [markdown]
# Loading is not attaching. `attach` takes a pod and a hook; the program goes to `eth0` *inside* the pod, and the link
# that holds it there is pinned too.

# %% glasshive={"role": "exercise", "id": "attach"}
### BEGIN SOLUTION
print(count.attach("web", "tcx ingress"))
lab.exec("client", ["ping", "-c", "3", "-i", "0.2", lab.address("web")])
print("counted:", [row for row in count.rows("hits") if row["value"]])
### END SOLUTION

# %% [markdown]
# The grader sends pings and datagrams of its own, and compares the map with what it has sent.

# %% glasshive={"role": "check", "id": "count"}
lab.check("count")

# %% [markdown]
# ## What Cilium does
#
# The same, at another scale: its programs are C compiled by clang (`bpf/bpf_lxc.c` and its neighbours), its maps are
# shared with the [[agent]], and it is cut into pieces by tail calls (`cilium_calls`), because one program for
# everything would be too much for the verifier. Each is tested by `BPF_PROG_TEST_RUN`, as yours have been.

# %% [markdown]
# ## Tidy up
#
# This detaches and unloads your programs and removes the lab's pods.

# %% glasshive={"role": "reset"}
lab.reset()
