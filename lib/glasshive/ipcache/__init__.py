"""Address -> identity and node, for every address of the cluster.

``desired`` turns nodes and pods into entries (pure), ``claims`` settles who may speak for an address (pure), ``sync``
keeps the kernel's map equal to the outcome.
"""
