"""Frozen values without input or output: what a label, an identity, an address, an endpoint *is*.

Next: ``glasshive.identity``, ``glasshive.ipcache`` and ``glasshive.endpoint`` give these values a life on a node.
"""
