# %% [markdown]
# # Enforcement modes and default deny
#
# Kubernetes lets every pod talk to every other until a policy says something else. What exactly does the first policy
# close, and what does it leave open? You will look at the rows that the kernel holds for a pod and see them decide;
# then turn enforcement on, off and to audit, for one pod and for the whole cluster.
#
# **40 minutes.** You should have seen lab 07: policy minds the [[identity]], and the [[ipcache]] tells an address's.

# %% [markdown]
# ## What it needs
#
# A cluster of its own beside the common one: it changes how all of the cluster enforces policy.

# %%
import glasshive

lab = glasshive.lab("08")
lab

# %% [markdown]
# ```text
#   bee  ----- egress of bee ----->  wire  ----- ingress of web ----->  web
#              may bee send this?                may web be given this?
#
#   Each side is asked on its own node, and each may say no. The answer to what was let pass is let pass.
# ```
#
# ## Before the first policy
#
# Three pods and a name for one of them. No policy selects anybody, so nothing is enforced: there are no rows to look
# up.

# %%
for name, node in (("web", "node1"), ("bee", "node2"), ("wasp", "node3")):
    lab.pod(name, node=node)
spec = {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 8080}]}
lab.run({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
print(lab.reach([("bee", "web"), ("wasp", "web"), ("web", "wasp")]))
lab.policy_view("web")

# %% [markdown]
# ## The first policy
#
# One rule: `bee` may come to `web`, at port 8080. It says nothing about `wasp`, and nothing about what `web` sends.
# **Predict first.**

# %%
prediction = lab.predict(
    "web is selected by a policy that lets bee in. Who else is still answered?",
    "wasp by web, and web by wasp: the policy says nothing about them",
    "web by wasp, but not wasp by web",
    "nobody: web may neither be asked nor ask",
)
prediction

# %% [markdown]
# Put it in force, and look at the rows of `web`, live. Then run the cell after it and watch which of them light up.

# %%
first = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: bee-to-web}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: bee}}]
    toPorts: [{ports: [{port: "8080", protocol: TCP}]}]
"""
print(*lab.policy(first))
lab.policy_view("web", live=True)

# %% [markdown]
# Who is answered now? A star is where packets were decided since the last look.

# %%
print(prediction.reveal("web by wasp, but not wasp by web"))
print(lab.reach([("bee", "web"), ("wasp", "web"), ("web", "wasp")]))
lab.policy_view("web")

# %% [markdown]
# That is **default deny**: the first policy that selects a pod, in a direction, closes that direction for whatever no
# rule allows. It is not in the file; it comes with being selected. `wasp` met the last row. `web` is still answered by
# `wasp`, because the policy has no egress section: nothing is enforced there. And the answers to `bee` need no rule,
# since [[conntrack]] knows their connection.
#
# `lab.why` reads the objects, and asks the kernel what it did with the last such packet:

# %%
print(lab.why("wasp", "web", "8080/TCP"))

# %% [markdown]
# ## The other direction
#
# Now `bee`: it may send to `web`, and nowhere else. Until now, `curl web:8080` works there. **Predict first.**

# %%
prediction = lab.predict(
    "bee may send to web, and web lets bee in. Does curl web:8080 still work in bee?",
    "yes: both sides allow it",
    "no: bee cannot ask for the name",
    "no: the answers of web are not allowed in",
)
prediction

# %% [markdown]
# Two rows are all that `bee` has:

# %%
to_web = {"toEndpoints": [{"matchLabels": {"app": "web"}}]}
only_web = {"endpointSelector": {"matchLabels": {"app": "bee"}}, "egress": [to_web]}
kind = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy"}
print(*lab.policy({**kind, "metadata": {"name": "bee-sends"}, "spec": only_web}))
lab.policy_view("bee", live=True)

# %% [markdown]
# The same request twice, and which rows have decided:

# %%
curl = "curl -s -m 2 -o /dev/null -w '%{http_code}'"
print("by address:", lab.exec("bee", f"{curl} {lab.address('web')}:8080"))
print("by name:", lab.exec("bee", f"{curl} web:8080"))
print(prediction.reveal("no: bee cannot ask for the name"))
lab.policy_view("bee")

# %% [markdown]
# Before `bee` sends anything to `web`, it sends a question to the [[resolver]]: another packet, to somebody else, and
# no rule allows it. The star at the last row is that question. The resolver's address has an identity too, that of the
# labels which its pods usually have. A rule for it:

# %%
resolver = {"matchLabels": {"k8s-app": "kube-dns", "k8s:io.kubernetes.pod.namespace": "kube-system"}}
ask = {"toEndpoints": [resolver], "toPorts": [{"ports": [{"port": "53", "protocol": "UDP"}]}]}
with_names = {**only_web, "egress": [to_web, ask]}
print(*lab.policy({**kind, "metadata": {"name": "bee-sends"}, "spec": with_names}))
print("by name:", lab.exec("bee", f"{curl} web:8080"))
print(lab.policy_view("bee"))
lab.enforced()

# %% [markdown]
# Who is closed, and in which direction, is a property of each pod: that is the second table.
#
# ## Four characters
#
# A rule without anything in it. In a NetworkPolicy, `ingress: [{}]` is a rule that fits everybody; in a
# CiliumNetworkPolicy the same text selects the pod and allows nothing. With `enableDefaultDeny` switched off, it does
# not even close anything. Three policies for `wasp`, one after the other, and who reaches it:

# %%
kubernetes = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "four"}}
mine = {"matchLabels": {"app": "wasp"}}
for policy in (
    {**kubernetes, "spec": {"podSelector": mine, "ingress": [{}]}},
    {**kind, "metadata": {"name": "four"}, "spec": {"endpointSelector": mine, "ingress": [{}]}},
    {**kind, "metadata": {"name": "four"}, "spec": {"endpointSelector": mine, "ingress": [{}],
                                                    "enableDefaultDeny": {"ingress": False}}},
):  # fmt: skip
    print(*lab.policy(policy))
    print(lab.reach([("web", "wasp")]))
    print(lab.policy_rows("wasp", ["peer", "verdict"], peer="any"), "\n")
    lab.no_policy("four")

# %% [markdown]
# ## Three modes
#
# All this is the mode `default`: enforce where a policy selects. `always` enforces for every pod in both directions,
# selected or not; `never` for nobody, whatever policies there are. **Predict first.** In the mode `always`, with the
# two policies as they stand:

# %%
prediction = lab.predict(
    "always: who is answered?",
    "bee by web: both sides have a rule for it",
    "bee by web, and web by wasp",
    "nobody: without a policy of their own for it, nodes let nothing pass",
)
prediction

# %% [markdown]
# The modes one after the other; the last is what it was.

# %%
ways = [("bee", "web"), ("wasp", "web"), ("web", "wasp")]
for mode in ("always", "never", "default"):
    print(lab.enforce(mode))
    print(lab.reach(ways))
    print(lab.enforced(), "\n")
print(prediction.reveal("bee by web: both sides have a rule for it"))

# %% [markdown]
# Mind `never`: it is quick, it helps at once, and it opens everything to everybody without a word. There is a better
# way to find out what a policy would break. In **audit** mode, a pod's policy judges as ever, its refusals are told,
# and the packets pass all the same.

# %%
print(lab.audit("web"))
print(lab.reach([("wasp", "web")]))
print(lab.policy_view("web"))
print(lab.why("wasp", "web", "8080/TCP").splitlines()[-1])
print(lab.audit("web", on=False))

# %% [markdown]
# ## Your turn: close, then open one door
#
# Names are drawn from the lab's seed.

# %%
task = lab.task("close")
task

# %% [markdown]
# The panel watches what is really so.

# %%
lab.panel()

# %% [markdown]
# Two policies do it, or one with two `specs`. `lab.hint("close")` helps.

# %% glasshive={"role": "exercise", "id": "close"}
### BEGIN SOLUTION
# Select the team and allow nothing; beside it, a door. What one policy allows, is allowed.
team = {"matchLabels": {"team": task["team"]}}
closed = {**kubernetes, "metadata": {"name": "closed"}, "spec": {"podSelector": team, "policyTypes": ["Ingress"]}}
rule = {"fromEndpoints": [{"matchLabels": {"app": task["friend"]}}], "toPorts": [{"ports": [{"port": "8080"}]}]}
door = {"endpointSelector": {"matchLabels": {"app": task["server"]}}, "ingress": [rule]}
print(*lab.policy(closed, {**kind, "metadata": {"name": "door"}, "spec": door}), sep="\n")
### END SOLUTION

# %% [markdown]
# Each of the team's pods, both families, every port but one; and is what they send as free as before?

# %% glasshive={"role": "check", "id": "close"}
lab.check("close")

# %% [markdown]
# ## Your turn: rehearse, then mean it
#
# A policy that refuses nobody yet.

# %%
task = lab.task("rehearse")
task

# %% [markdown]
# Let them all try (`lab.reach`), then ask what the kernel would have said (`lab.why`).

# %% glasshive={"role": "exercise", "id": "rehearse"}
### BEGIN SOLUTION
# Those whom the audit names and who belong there get in; then the policy may refuse.
guests = [{"matchLabels": {"app": name}} for name in task["regulars"]]
rule = {"fromEndpoints": guests, "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}]}]}
spec = {"endpointSelector": {"matchLabels": {"app": task["server"]}}, "ingress": [rule]}
print(*lab.policy({**kind, "metadata": {"name": f"{task['server']}-door"}, "spec": spec}))
print(lab.audit(task["server"], on=False))
### END SOLUTION

# %% [markdown]
# Is the audit over? Is nobody locked out who belongs there, and everybody who does not?

# %% glasshive={"role": "check", "id": "rehearse"}
lab.check("rehearse")

# %% [markdown]
# ## Your turn: somebody went to bed
#
# The whole cluster is open, and there was a reason.

# %%
task = lab.task("never-again")
task

# %% [markdown]
# Set the mode back first: with `never`, nothing can be seen to be wrong. Then look at the rows.

# %% glasshive={"role": "exercise", "id": "never-again"}
### BEGIN SOLUTION
# The client could not ask for the name. A second policy lets it, and the mode is as it was.
spec = {"endpointSelector": {"matchLabels": {"app": task["client"]}}, "egress": [ask]}
print(*lab.policy({**kind, "metadata": {"name": "names"}, "spec": spec}))
print(lab.enforce("default"))
### END SOLUTION

# %% [markdown]
# By name, in both families, nowhere else, and nobody who was free is closed.

# %% glasshive={"role": "check", "id": "never-again"}
lab.check("never-again")

# %% [markdown]
# ## What Cilium does
#
# The same modes: `policyEnforcementMode` in its Helm values, `enable-policy` in the ConfigMap `cilium-config`, which is
# also where the mode stands here. `cilium-dbg endpoint list` has the two columns that you saw
# (`glasshive endpoint list`), and audit mode is the [[endpoint]] option `PolicyAuditMode`, or `policy-audit-mode` for
# all. The trap with names is why nearly every egress policy that you will meet begins with a rule for `kube-dns`.
# Default deny comes from any of the kinds of policy, and `enableDefaultDeny` is Cilium's alone: for policies of whole
# clusters, which are to add a rule and close nothing.

# %% [markdown]
# ## Tidy up
#
# The lab's own cluster goes, and all that is in it.

# %% glasshive={"role": "reset"}
lab.reset()
