"""A node's own endpoints: from a sandbox's network namespace to a reachable pod, and back.

``table`` does the work on links and maps, ``store`` is its memory across the agent's death, ``ids`` gives numbers,
``departures`` takes many away at once.
"""
