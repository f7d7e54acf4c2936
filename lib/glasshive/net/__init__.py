"""The host's network: namespaces, links, addresses, routes, sysctls.

The only place that calls ``setns`` and ``unshare`` and that speaks rtnetlink. Everything here is synchronous.

Modules: ``libc`` (the system calls Python 3.11 lacks), ``netlink`` (raw rtnetlink in batches), ``netns`` (make, open,
delete, run inside), ``veth`` (one pod's link in three sends), ``links`` (bridges, tunnels, addresses, routes: one
object at a time), ``sysctl`` (per-namespace settings).
"""
