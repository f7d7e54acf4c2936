# %% [markdown]
# # Three kinds of policy
#
# Kubernetes has one kind of policy, Cilium has two more, and the administrators of a cluster have theirs. You will say
# one thing in several kinds, see whose word counts where they meet, guard a node, and decide what comes first and what
# comes last.
#
# **45 minutes.** You should have done lab 09.

# %% [markdown]
# ## What it needs
#
# A cluster of its own, because some of these policies hold for all of it, nodes included.

# %%
import glasshive

lab = glasshive.lab("10")
lab

# %% [markdown]
# ```text
#   kind                              holds for           allows  denies  peers
#   NetworkPolicy                     a namespace         yes     no      pods, namespaces, blocks
#   CiliumNetworkPolicy               a namespace         yes     yes     also entities, services, the world ...
#   CiliumClusterwideNetworkPolicy    the cluster, nodes  yes     yes     the same
#   ClusterNetworkPolicy, two tiers   the cluster         yes     yes     pods, namespaces; first or last word
# ```
#
# Two servers, and two pods that ask them.

# %%
for name, node in (("api", "node1"), ("twin", "node1"), ("shop", "node2"), ("bot", "node3")):
    lab.pod(name, node=node)

# %% [markdown]
# ## One thing, said twice
#
# `api` gets a NetworkPolicy, `twin` a CiliumNetworkPolicy that says the same: `shop`, at 8080.

# %%
print(lab.policy("""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress: [{from: [{podSelector: {matchLabels: {app: shop}}}], ports: [{port: 8080}]}]
""", """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: twin}
spec:
  endpointSelector: {matchLabels: {app: twin}}
  ingress: [{fromEndpoints: [{matchLabels: {app: shop}}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]
"""))  # fmt: skip

# %% [markdown]
# Side by side, the keys are the same; only who is named in the last column differs. In the browser both stay live.

# %%
print(lab.policy_view("api", live=True))
lab.policy_view("twin", live=True)

# %% [markdown]
# ## Whose word counts
#
# A NetworkPolicy can only allow. The other kinds can also deny. **Predict first.** Two policies meet at `api`: the
# NetworkPolicy allows `shop` at 8080, and a policy for the whole cluster denies `shop` at *any* port. The first names
# the port and so is the more exact one.

# %%
ban = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: ban}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingressDeny: [{fromEndpoints: [{matchLabels: {app: shop}}]}]
"""
prediction = lab.predict("Does shop reach api at 8080?", "yes: the more exact rule wins", "no: a deny rule wins")
prediction

# %% [markdown]
# The peer of a clusterwide policy is a pod of *any* namespace, unless the rule names one.

# %%
print(lab.policy(ban))
print(lab.reach([("shop", "api"), ("shop", "twin"), ("bot", "api")]))
print(prediction.reveal("no: a deny rule wins"))
lab.policy_view("api")

# %% [markdown]
# The row of 8080 has not lost against the other: it is not there any more. What a deny rule covers is left out when the
# keys are computed, so the kernel need not choose.
#
# ## A ban that is no default deny
#
# A policy that selects a pod brings a default deny, also when all it does is deny. For a ban over the whole cluster
# that is the end of everything else. `enableDefaultDeny` says no to that. **Predict first.** This ban selects all pods.

# %%
ban = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: ban}
spec:
  endpointSelector: {}
  enableDefaultDeny: {ingress: false}
  ingressDeny: [{fromEndpoints: [{matchLabels: {app: bot}}]}]
"""
prediction = lab.predict("Who reaches shop, which no other policy selects?", "api and twin", "nobody", "api, twin, bot")
prediction

# %% [markdown]
# `api` and `twin` keep the default deny of their own policies.

# %%
print(lab.policy(ban))
print(lab.reach([("api", "shop"), ("twin", "shop"), ("bot", "shop"), ("shop", "api"), ("twin", "api")]))
print(prediction.reveal("api and twin"))
lab.policy_view("shop")

# %% [markdown]
# ## Nodes
#
# A pod on its node's own network (`hostNetwork`) has no address of its own and is no [[endpoint]]: no policy of a
# namespace can select it. With `nodeSelector` a clusterwide policy guards the node itself: the **host firewall**.

# %%
lab.no_policy()
lab.pod("edge", node="node2", host=True)
door = lab.address("edge")
before = lab.reach([("bot", door), ("bot", "shop")])
lab.policy("""
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: node2}
spec:
  nodeSelector: {matchLabels: {kubernetes.io/hostname: node2}}
  ingress: [{fromEntities: [remote-node]}]
""")
print(before, lab.reach([("bot", door), ("bot", "shop")]), sep="\n")

# %% [markdown]
# `shop` is on the same node, and is not concerned: what is for a pod passes the node by. `lab.why` knows nodes too.
# Other nodes are let in by an [[entity]], as they have no labels of yours.

# %%
lab.why("bot", door, "8080/TCP")

# %% [markdown]
# ## The first word and the last
#
# With a CiliumClusterwideNetworkPolicy an administrator can forbid, but cannot *promise*: a developer's deny rule wins.
# ClusterNetworkPolicy has tiers. *Admin* is asked first, and the first of its rules that fits decides: Accept, Deny, or
# Pass (ask the others). *Baseline* is asked last, where no policy of a namespace selects the pod.

# %%
lab.no_policy()
lab.policy("""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody}
spec: {podSelector: {matchLabels: {app: api}}}
""", """
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: promise}
spec:
  {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Accept, from: [{pods:
  {namespaceSelector: {}, podSelector: {matchLabels: {app: bot}}}}]}]}
""")  # fmt: skip
lab.reach([("bot", "api"), ("shop", "api"), ("shop", "twin")])

# %% [markdown]
# `bot` was promised, and a NetworkPolicy that lets nobody in cannot take it back. `twin` is open, as no policy of its
# namespace selects it; that would be for the tier Baseline to say.

# %%
print(lab.policy_view("api"))
print(lab.no_policy())

# %% [markdown]
# ## Break it: a ban too wide
#
# Names, labels and ports are drawn from the lab's seed. Here two policies meet already.

# %%
task = lab.task("ban")
task

# %% [markdown]
# `lab.why(task["mates"][0], task["server"], "8080/TCP")` says whose word counts.

# %% glasshive={"role": "exercise", "id": "ban"}
### BEGIN SOLUTION
lab.policy(f"""
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {{name: {task["ban"]}}}
spec:
  endpointSelector: {{matchLabels: {{app: {task["server"]}}}}}
  enableDefaultDeny: {{ingress: false}}
  ingressDeny: [{{fromEndpoints: [{{matchLabels: {{app: {task["rogue"]}}}}}]}}]
""")
### END SOLUTION

# %% [markdown]
# Nobody more and nobody less?

# %% glasshive={"role": "check", "id": "ban"}
lab.check("ban")

# %% [markdown]
# ## Your turn: twenty-four pairs
#
# Four who ask, three who are asked, two ports.

# %%
task = lab.task("table")
task

# %% [markdown]
# Which kind says which of it best?

# %% glasshive={"role": "exercise", "id": "table"}
### BEGIN SOLUTION
app = {name: {"matchLabels": {"app": task[name]}} for name in ("store", "vault", "auditor")}
team, sick = {"matchLabels": {"team": task["team"]}}, {"matchLabels": {"quarantine": "yes"}}
store = {"from": [{"podSelector": team}], "ports": [{"port": task["store_port"]}]}
vault = {"fromEndpoints": [app["auditor"]], "toPorts": [{"ports": [{"port": str(task["vault_port"])}]}]}
ban = {"enableDefaultDeny": {"ingress": False}, "ingressDeny": [{"fromEndpoints": [sick]}]}
for api, kind, spec in (
    ("networking.k8s.io/v1", "NetworkPolicy", {"podSelector": app["store"], "ingress": [store]}),
    ("cilium.io/v2", "CiliumNetworkPolicy", {"endpointSelector": app["vault"], "ingress": [vault]}),
    ("cilium.io/v2", "CiliumClusterwideNetworkPolicy", {"endpointSelector": {}, **ban}),
):
    print(lab.policy({"apiVersion": api, "kind": kind, "metadata": {"name": "table"}, "spec": spec}))
### END SOLUTION

# %% [markdown]
# All pairs are tried.

# %% glasshive={"role": "check", "id": "table"}
lab.check("table")

# %% [markdown]
# ## Your turn: a node's own door
#
# A node is no pod.

# %%
task = lab.task("node")
task

# %% [markdown]
# Nodes have labels too: `print(lab.kubectl("get", "nodes", "--show-labels"))`.

# %% glasshive={"role": "exercise", "id": "node"}
### BEGIN SOLUTION
lab.policy(f"""
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {{name: guard}}
spec:
  nodeSelector: {{matchLabels: {{kubernetes.io/hostname: {task["node"]}}}}}
  ingress:
  - fromEndpoints: [{{matchLabels: {{app: {task["admin"]}}}}}]
    toPorts: [{{ports: [{{port: "9000", protocol: TCP}}]}}]
  - {{fromEndpoints: [{{}}], toPorts: [{{ports: [{{port: "8080", protocol: TCP}}]}}]}}
  - fromEntities: [host, remote-node]
""")
### END SOLUTION

# %% [markdown]
# Its pods, and the other nodes, are tried too.

# %% glasshive={"role": "check", "id": "node"}
lab.check("node")

# %% [markdown]
# ## Your turn: the first word and the last
#
# You are the administrator now.

# %%
task = lab.task("tiers")
task

# %% [markdown]
# Two policies, one of each tier; `kubectl explain clusternetworkpolicy.spec` says what they may hold.

# %% glasshive={"role": "exercise", "id": "tiers"}
### BEGIN SOLUTION
keys = {"zone": "zone", "monitor": "app", "scanner": "app"}
pods = {who: {"namespaceSelector": {}, "podSelector": {"matchLabels": {keys[who]: task[who]}}} for who in keys}
port = {"tcp": {"destinationPort": {"number": 9000}}}
first = [
    {"action": "Deny", "from": [{"pods": pods["scanner"]}]},
    {"action": "Accept", "from": [{"pods": pods["monitor"]}], "protocols": [port]},
]
last = [{"action": "Deny", "from": [{"namespaces": {}}]}]
api = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy"}
for tier, rules in (("Admin", first), ("Baseline", last)):
    spec = {"tier": tier, "priority": 1, "subject": {"pods": pods["zone"]}, "ingress": rules}
    print(lab.policy({**api, "metadata": {"name": tier.lower()}, "spec": spec}))
### END SOLUTION

# %% [markdown]
# Whose word counted?

# %% glasshive={"role": "check", "id": "tiers"}
lab.check("tiers")

# %% [markdown]
# ## What Cilium does
#
# It reads a NetworkPolicy as one of its own rules (`derived-from=NetworkPolicy` stands at it), and adds up the rules of
# all three kinds for each endpoint; deny rules win there as here. The host firewall wants `hostFirewall.enabled=true`
# there, and is always there here. The kinds with tiers are the network policy group's of Kubernetes, not Cilium's,
# whose engine has tiers inside since 1.19. Here the keys of an endpoint are computed tier by tier, so that the kernel
# finds one answer and need not know of tiers.

# %% [markdown]
# ## Tidy up
#
# The lab's own cluster goes, and with it every policy.

# %% glasshive={"role": "reset"}
lab.reset()
