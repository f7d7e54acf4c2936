"""Pods as processes of this machine: what containerd and runc are to a real node.

``zygote`` is a small process of each node that forks pods; ``sandbox`` is what a fork does to become a pod (namespaces,
cgroup, root file system); ``podinit`` then runs as process 1 of the pod, starts its containers (``container``), keeps
their logs (``crilog``) and restarts them by the pod's policy; ``client`` is how the kubelet talks to all of them.

Everything but ``client`` is imported by the zygote and therefore light: the standard library, ``glasshive.net.libc``,
nothing more. None of it depends on the kubelet being alive.
"""
