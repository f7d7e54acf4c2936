# %% [markdown]
# # From rules to keys
#
# A policy is text; the kernel knows only keys in a map. You will write rules by labels, by [[entity|entities]], by
# blocks of addresses and by ports, see which keys each of them becomes, and which key a packet meets. Then you write
# four policies that say what they should, and not a word more.
#
# **40 minutes.** You should know what an [[identity]] is (lab 07), and default deny (lab 08).

# %% [markdown]
# ## What it needs
#
# Nothing beyond the common cluster.

# %%
import glasshive

lab = glasshive.lab("09")
lab

# %% [markdown]
# ```text
#   [ node1 ]         [ node2 ]        [ node3 ]                     world outside
#     api :8080 :9090   shop team=red    bot  team=blue                203.0.113.10    :80 :8080
#                                        load team=red                 172.30.255.254  :80 :8080
# ```
#
# A server with two ports, and three pods that ask it.

# %%
lab.pod("api", node="node1", args=["--http=8080", "--http=9090"], ports={"web": 8080})
lab.pod("shop", node="node2", labels={"team": "red"})
lab.pod("load", node="node3", labels={"team": "red"})
lab.pod("bot", node="node3", labels={"team": "blue"})
ways = [("shop", "api"), ("load", "api"), ("bot", "api")]
lab.reach(ways)

# %% [markdown]
# ## A rule and its keys
#
# A rule asks three things: *whose* policy is it (`endpointSelector`), *from whom* (`fromEndpoints`), *at what*
# (`toPorts`). What one rule says must hold together; the members of a list are alternatives. **Predict first.** This
# policy has one rule with two labels and two ports. Three pods have such a label.

# %%
policy = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints:
    - {matchLabels: {team: red}}
    - {matchLabels: {team: blue}}
    toPorts:
    - ports: [{port: "8080", protocol: TCP}, {port: "9090", protocol: TCP}]
"""
prediction = lab.predict("How many keys does the one rule become, as there are three pods?", "1", "4", "6")
prediction

# %% [markdown]
# Apply it, and look at the map: one row for each [[identity]] with each port. `host` is the pod's own node, which may
# always ask its pods. In the browser, rows light up when they decide a packet.

# %%
print(lab.policy(policy))
keys = lab.policy_rows("api", verdict="allow", rule="CiliumNetworkPolicy api, ingress[0]")
print(prediction.reveal(str(len(keys))))
lab.policy_view("api", live=True)

# %% [markdown]
# The rows `default deny` stand there because such a peer has keys of its own: at another port, this one decides.
#
# A second `shop` has the identity of the first, so it adds no key, and neither would the thousandth. A request of
# `bot`, and the star is at the row that has decided its first packet. What follows belongs to a connection that
# [[conntrack]] knows, and needs no policy.

# %%
lab.pod("shop-2", node="node3", labels={"app": "shop", "team": "red"})
print("keys now:", len(lab.policy_rows("api", verdict="allow", rule="CiliumNetworkPolicy api, ingress[0]")))
lab.reach([("bot", "api")], port=9090)
lab.policy_view("api")

# %% [markdown]
# ## A dash makes two rules
#
# The same words with one dash more: `toPorts` begins a rule of its own. **Predict first.** Who is answered?

# %%
dashed = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints: [{matchLabels: {team: red}}]
  - toPorts: [{ports: [{port: "8080", protocol: TCP}]}]
"""
prediction = lab.predict(
    "Who reaches what?", "red at 8080 alone", "red at any port, and everybody at 8080", "nobody: the rules contradict"
)
prediction

# %% [markdown]
# Try it at both ports. The map says it plainly: a row for *any* peer at 8080, and rows for red at *any* port.

# %%
lab.policy(dashed)
for port in (8080, 9090):
    print(lab.reach(ways, port=port))
print(prediction.reveal("red at any port, and everybody at 8080"))
lab.policy_view("api")

# %% [markdown]
# Rules that allow only ever add: what one lets in, another does not take away.
#
# ## Ports: names, ranges, and what has none
#
# A port may have a name, which each pod gives to a number of its own. A range becomes blocks whose size is a power of
# two, as the map matches the longest prefix. A ping has no port: `icmps` names its type, in a rule of its own.

# %%
lab.policy("""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: bot}}]
    toPorts: [{ports: [{port: web, protocol: TCP}, {port: "9000", endPort: 9010, protocol: TCP}]}]
  - fromEndpoints: [{matchLabels: {app: bot}}]
    icmps: [{fields: [{type: EchoRequest}]}]
""")
print(lab.ping("bot", lab.address("api"), count=1))
lab.policy_view("api")

# %% [markdown]
# ## Who has no labels: entities
#
# Nodes and the world have no labels that you chose, but they have an identity, and an entity names it. A process on
# `api`'s own node may ask it already; one on another node may not, until a rule says so.

# %%
asked = ["curl", "-s", "-m", "1", "-o", "/dev/null", "-w", "%{http_code}", f"http://{lab.address('api')}:8080/"]
before = [lab.cluster.node_exec(node, asked).stdout for node in ("node1", "node2")]
lab.policy("""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: nodes}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress: [{fromEntities: [remote-node], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]
""")
after = [lab.cluster.node_exec(node, asked).stdout for node in ("node1", "node2")]
print("from node1, node2: before", before, "- after", after)
lab.policy_rows("api", ("peer", "port", "verdict"), rule="CiliumNetworkPolicy nodes, ingress[0]")

# %% [markdown]
# One word, two identities: the node where the API server lives has a label more.
#
# ## The outside: blocks of addresses
#
# A CIDR means addresses *outside*. **Predict first.** `bot` may send to this one block, which holds every address of
# IPv4. Does it reach `api`?

# %%
lab.no_policy()
lab.policy("""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: bot}
spec:
  endpointSelector: {matchLabels: {app: bot}}
  egress: [{toCIDRSet: [{cidr: 0.0.0.0/0, except: [203.0.113.0/24]}]}]
""")
prediction = lab.predict("Does bot reach api?", "yes: its address is in the block", "no: a pod is not outside")
prediction

# %% [markdown]
# The two addresses of the world, and the pod:

# %%
print(lab.reach([("bot", "172.30.255.254"), ("bot", "203.0.113.10"), ("bot", "api")]))
print(prediction.reveal("no: a pod is not outside"))

# %% [markdown]
# `lab.why` says it in words: which row decided, what nearly matched, and the smallest change. (In a terminal:
# `glasshive policy trace`.)

# %%
print(lab.why("bot", "api", "8080/TCP"))
print(lab.no_policy())

# %% [markdown]
# The block after `except` was merely not meant: it is no deny rule, and another policy could still allow it.
#
# ## Your turn: one door, one team
#
# Names, labels and ports are drawn from the lab's seed. What must hold, and what each of it is worth, stands there too.

# %%
task = lab.task("door")
task

# %% [markdown]
# `lab.policy` takes YAML, and `task["server"]` and so on hold what was drawn.
# `lab.policy_view(task["server"], live=True)` shows what it becomes; `lab.hint("door")` looks at the real state and
# says what is wrong.

# %% glasshive={"role": "exercise", "id": "door"}
### BEGIN SOLUTION
lab.policy(f"""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: store}}
spec:
  endpointSelector: {{matchLabels: {{app: {task["server"]}}}}}
  ingress:
  - fromEndpoints: [{{matchLabels: {{team: {task["team"]}}}}}]
    toPorts: [{{ports: [{{port: "{task["port"]}", protocol: TCP}}]}}]
""")
### END SOLUTION

# %% [markdown]
# The check sends what should get in, and what should not, and looks whether it arrives.

# %% glasshive={"role": "check", "id": "door"}
lab.check("door")

# %% [markdown]
# ## Your turn: a range, to the number
#
# Nobody writes two hundred ports down.

# %%
task = lab.task("ports")
task

# %% [markdown]
# `lab.why` also takes `ICMP` in place of a port.

# %% glasshive={"role": "exercise", "id": "ports"}
### BEGIN SOLUTION
lab.policy(f"""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: media}}
spec:
  endpointSelector: {{matchLabels: {{app: {task["server"]}}}}}
  ingress:
  - fromEndpoints: [{{matchLabels: {{app: {task["client"]}}}}}]
    toPorts: [{{ports: [{{port: "{task["low"]}", endPort: {task["high"]}, protocol: TCP}}]}}]
  - fromEndpoints: [{{matchLabels: {{app: {task["client"]}}}}}]
    icmps: [{{fields: [{{type: EchoRequest}}, {{family: IPv6, type: EchoRequest}}]}}]
""")
### END SOLUTION

# %% [markdown]
# One below and one above are tried too.

# %% glasshive={"role": "check", "id": "ports"}
lab.check("ports")

# %% [markdown]
# ## Your turn: the world, but for a block
#
# The other direction: what a pod may send.

# %%
task = lab.task("outside")
task

# %% [markdown]
# A pod that has one rule for egress has default deny for all the rest it sends.

# %% glasshive={"role": "exercise", "id": "outside"}
### BEGIN SOLUTION
lab.policy(f"""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: calls}}
spec:
  endpointSelector: {{matchLabels: {{app: {task["caller"]}}}}}
  egress:
  - toCIDRSet: [{{cidr: 0.0.0.0/0, except: [{task["block"]}]}}]
    toPorts: [{{ports: [{{port: "{task["port"]}", protocol: TCP}}]}}]
  - toEndpoints: [{{matchLabels: {{app: {task["friend"]}}}}}]
    toPorts: [{{ports: [{{port: "8080", protocol: TCP}}]}}]
""")
### END SOLUTION

# %% [markdown]
# Both addresses of the world, both families, two ports, two pods.

# %% glasshive={"role": "check", "id": "outside"}
lab.check("outside")

# %% [markdown]
# ## Break it: a policy that says something else
#
# This one has been written already. The API server took it, every node has it in force, and it is wrong.

# %%
task = lab.task("mend")
print(lab.kubectl("get", "cnp", task["policy"], "-o", "jsonpath={.spec.ingress}"))
task

# %% [markdown]
# Look at its rows before you write: `lab.policy_view(task["server"])`.

# %% glasshive={"role": "exercise", "id": "mend"}
### BEGIN SOLUTION
lab.policy(f"""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: {task["policy"]}}}
spec:
  endpointSelector: {{matchLabels: {{app: {task["server"]}}}}}
  ingress:
  - fromEndpoints: [{{matchLabels: {{app: {task["ally"]}}}}}]
    toPorts: [{{ports: [{{port: "8080", protocol: TCP}}]}}]
  - fromEndpoints: [{{matchLabels: {{app: {task["gauge"]}}}}}]
    toPorts: [{{ports: [{{port: "9000", protocol: TCP}}]}}]
""")
### END SOLUTION

# %% [markdown]
# Does it say now what was meant?

# %% glasshive={"role": "check", "id": "mend"}
lab.check("mend")

# %% [markdown]
# ## What Cilium does
#
# The same text means the same. Its map `cilium_policy_v2` belongs to one [[endpoint]] and is one longest-prefix match
# over identity, direction, protocol and port (`cilium-dbg bpf policy get` shows it), while ours belongs to all
# endpoints of equal policy, and asks for the peer first and for its ports then. Both look twice, for the peer and for
# anybody, and a deny rule wins. With `policy-cidr-match-mode: nodes` a block may mean nodes there and here, but never
# pods. HTTP methods and DNS names (`rules`, `toFQDNs`) are rules too: they need a proxy, which is not here yet.

# %% [markdown]
# ## Tidy up
#
# Pods and policies go with the lab's namespace.

# %% glasshive={"role": "reset"}
lab.reset()
