"""How pods of other nodes are reached: routes of the node's network namespace.

``desired`` says which routes there must be (pure), ``sync`` makes the kernel's equal to them in one batch.
"""
