"""Services: which place leads to which backends, as one node sees it.

``desired`` decides (pure), ``book`` joins what all services want, ``numbers`` gives out numbers that are stable,
``maglev`` makes tables, ``sync`` writes. The agent's feature "services" feeds it.
"""
